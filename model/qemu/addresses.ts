import { ParseError } from '../parse-error.ts';
import { asHva, type Hva } from '../units.ts';

/** Where a guest physical address lies, or QEMU's reason why nowhere. */
export type AddressReply<T> =
  | { readonly state: 'ok'; readonly gpa: number; readonly region: string; readonly address: T }
  | { readonly state: 'refused'; readonly detail: string };

/**
 * QEMU's refusals: no memory there, a device, a page that is not present (gpa2hpa), no right to the own pagemap
 * (gpa2hpa), an address that is none. gpa2hva() and vtop() of monitor/misc.c, 7.2; "is not RAM" lacked its blank before 5.2.
 */
const REFUSALS =
  /^(No memory is mapped at address|Memory at address|Size of memory region at|Page not present|Cannot (open|read) |invalid char|unknown command|Could not open|Failed to)|\/proc\/self\/pagemap/;

function reply(format: string, words: string, text: string): AddressReply<bigint> {
  const line = text.replace(/\r/g, '').replace(/\n[\s\S]*$/, '');
  // The region's name may hold anything, so the last " is 0x" counts.
  const match = new RegExp(
    `^Host ${words} address for 0x([0-9a-f]{1,16}) \\((.*)\\) is 0x([0-9a-f]{1,16})$`,
  ).exec(line);
  if (match) {
    const gpa = Number(`0x${match[1]}`);
    if (!Number.isSafeInteger(gpa)) throw new ParseError(format, 'a guest address below 2^53', line, 1);
    return { state: 'ok', gpa, region: match[2] ?? '', address: BigInt(`0x${match[3]}`) };
  }
  if (REFUSALS.test(line)) return { state: 'refused', detail: line };
  throw new ParseError(format, `Host ${words} address for 0x… (region) is 0x…, or a refusal`, line, 1);
}

/**
 * Reads the reply of `gpa2hva ADDRESS`. The command only computes; it does not touch the page.
 * hmp_gpa2hva() of monitor/misc.c, 7.2, monitor/hmp-cmds-target.c later: the same text.
 * @throws ParseError
 */
export function parseGpa2hva(text: string): AddressReply<Hva> {
  const found = reply('gpa2hva', 'virtual', text);
  return found.state === 'ok' ? { ...found, address: asHva(found.address) } : found;
}

/**
 * Reads the reply of `gpa2hpa ADDRESS`; `address` is the host physical address in bytes.
 * The command writes to the page first ("force copy-on-write", vtop() of monitor/misc.c), so it allocates the page of
 * a hole: it is for tests that compare, never for looking at a guest.
 * @throws ParseError
 */
export function parseGpa2hpa(text: string): AddressReply<bigint> {
  return reply('gpa2hpa', 'physical', text);
}
