import { type AddressInfo, BlockList, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Whether only this machine reaches the address. */
export const isLoopback = ({ address, family }: AddressInfo): boolean =>
  loopback.check(address, family === 'IPv6' ? 'ipv6' : 'ipv4');

/** `[::1]`: an address as a URL and a Host header have it. */
const inUrl = (address: string): string => (isIPv6(address) ? `[${address}]` : address);

/** `127.0.0.1:8080`, without the port that browsers leave out. */
const authority = (host: string, port: number): string =>
  port === 80 ? inUrl(host) : `${inUrl(host)}:${port}`;

/**
 * The Host headers that are ours, in lower case. A page of elsewhere whose name was made to lead here (DNS rebinding) sends its own
 * name, so names count only where the user has named them; this machine's own are those of a forwarded port.
 * @param named as the user wrote it behind --listen
 */
export function ownHosts(bound: AddressInfo, named: string): ReadonlySet<string> {
  const own = isEvery(bound) ? interfaces().map(({ address }) => address) : [bound.address];
  const names = ['127.0.0.1', 'localhost', '::1', named, ...own];
  return new Set(names.map(name => authority(name.toLowerCase(), bound.port)));
}

const isEvery = ({ address }: AddressInfo): boolean => address === '0.0.0.0' || address === '::';
const interfaces = () => Object.values(networkInterfaces()).flatMap(all => all ?? []);

/** What to open: as the user named it, or where that is every address, the first that others reach. */
const hostToOpen = (bound: AddressInfo, named: string): string =>
  isEvery(bound) ? (interfaces().find(({ internal }) => !internal)?.address ?? '127.0.0.1') : named;

/** The address to open, with the token where neither server nor logs see it: in the fragment. */
export const pageUrl = (bound: AddressInfo, named: string, token: string): string =>
  `http://${authority(hostToOpen(bound, named), bound.port)}/#${token}`;

/**
 * The line that makes this machine's port one of the machine where it is typed: to what is listened on, where that is this
 * machine's own, else to 127.0.0.1, for a start without --listen.
 */
export function tunnelLine(bound: AddressInfo, named: string, machine: string): string {
  const to = isLoopback(bound) ? inUrl(named) : '127.0.0.1';
  return `ssh -L ${bound.port}:${to}:${bound.port} ${machine}`;
}
