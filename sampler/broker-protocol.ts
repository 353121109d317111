/** What goes over the broker's socket, as native/broker.h has it; and which path is which of the files that it opens. */
import { endianness } from 'node:os';
import type { PrivilegeLevel } from '../model/contract.ts';
import type { FdTable } from '../native/index.ts';

export const BROKER_PROTOCOL = 1;

export const OP = { hello: 1, open: 2, listFds: 3, getFd: 4 } as const;

const LEVELS: ReadonlyMap<number, PrivilegeLevel> = new Map([
  [1, 'pages'],
  [2, 'kernel-memory'],
]);

export interface BrokerRequest {
  readonly op: number;
  readonly file?: number;
  readonly pid?: number;
  readonly startTime?: bigint;
  /** An fd, for fdinfo and getFd. */
  readonly arg?: number;
}

/** A file that the broker opens; with a pid, one of that process. */
export interface BrokerFile {
  readonly file: number;
  readonly pid: number | null;
  readonly arg: number;
}

const PROCESS_FILES: Readonly<Record<string, number>> = { pagemap: 1, maps: 2, smaps: 3, fdinfo: 4 };
const HOST_FILES: Readonly<Record<string, number>> = {
  '/proc/kpageflags': 16,
  '/proc/kpagecount': 17,
  '/proc/kpagecgroup': 18,
  '/proc/pagetypeinfo': 19,
  '/sys/kernel/debug/dma_buf/bufinfo': 20,
  '/proc/kcore': 32,
  '/proc/kallsyms': 33,
};

/** @returns `undefined` for a file that no level opens */
export function brokerFileOf(path: string): BrokerFile | undefined {
  const host = HOST_FILES[path];
  if (host !== undefined) return { file: host, pid: null, arg: 0 };
  const [, pid, name, fd] =
    /^\/proc\/([1-9]\d{0,8})\/(?:(pagemap|maps|smaps)|fdinfo\/(0|[1-9]\d{0,8}))$/.exec(path) ?? [];
  const file = PROCESS_FILES[name ?? 'fdinfo'];
  if (pid === undefined || file === undefined) return undefined;
  return { file, pid: Number(pid), arg: Number(fd ?? 0) };
}

/**
 * Files that open for everybody and show zeroes to those without the right: fs/proc/task_mmu.c pagemap_read (CAP_SYS_ADMIN),
 * kernel/kallsyms.c kallsyms_show_value (CAP_SYSLOG), both of the opener.
 */
export function hidesValues(path: string): boolean {
  return /^\/proc\/(\d+\/pagemap|kallsyms)$/.test(path);
}

/** Links that the broker lists, by how they begin. */
export const LISTED_LINKS: readonly string[] = [
  '/dmabuf:',
  '/memfd:',
  '/dev/udmabuf',
  '/dev/vfio/',
  '/dev/iommu',
  'anon_inode:',
];

/** Both sides run on one machine: its byte order. */
const LITTLE = endianness() === 'LE';
const REPLY_BYTES = 16;
const HELLO_BYTES = 32;
const ROW_BYTES = 328;
const LINK_AT = 52;
/** A full packet of rows. */
export const MAX_PACKET_BYTES = REPLY_BYTES + 64 * ROW_BYTES;

export function encodeRequest({
  op,
  file = 0,
  pid = 0,
  startTime = 0n,
  arg = 0,
}: BrokerRequest): Uint8Array<ArrayBuffer> {
  const data = new DataView(new ArrayBuffer(32));
  data.setUint32(0, op, LITTLE);
  data.setUint32(4, file, LITTLE);
  data.setInt32(8, pid, LITTLE);
  data.setUint32(12, arg, LITTLE);
  data.setBigUint64(16, startTime, LITTLE);
  return new Uint8Array(data.buffer);
}

export interface BrokerReply {
  /** 0: done. */
  readonly errno: number;
  readonly count: number;
  readonly last: boolean;
  readonly body: DataView;
}

/** @returns `undefined` for what is no reply to `op`: the two sides are out of step */
export function decodeReply(packet: Uint8Array, op: number): BrokerReply | undefined {
  if (packet.byteLength < REPLY_BYTES) return undefined;
  const data = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  const errno = data.getInt32(4, LITTLE);
  const last = data.getUint32(12, LITTLE);
  if (data.getUint32(0, LITTLE) !== op || errno < 0 || last > 1) return undefined;
  const body = new DataView(packet.buffer, packet.byteOffset + REPLY_BYTES, packet.byteLength - REPLY_BYTES);
  return { errno, count: data.getUint32(8, LITTLE), last: last === 1, body };
}

export interface BrokerHello {
  readonly protocol: number;
  readonly level: PrivilegeLevel;
  /** At level `pages`. */
  readonly pid: number | null;
  readonly startTime: bigint | null;
  /** The user that it serves. */
  readonly uid: number;
  readonly brokerPid: number;
}

export function decodeHello(body: DataView): BrokerHello | undefined {
  if (body.byteLength !== HELLO_BYTES) return undefined;
  const level = LEVELS.get(body.getUint32(4, LITTLE));
  if (level === undefined) return undefined;
  const pid = body.getInt32(8, LITTLE);
  return {
    protocol: body.getUint32(0, LITTLE),
    level,
    pid: pid === 0 ? null : pid,
    startTime: pid === 0 ? null : body.getBigUint64(16, LITTLE),
    uid: body.getUint32(12, LITTLE),
    brokerPid: body.getInt32(24, LITTLE),
  };
}

/** The rows of all packets of one list, of links that begin with one of `prefixes`. `undefined`: not what it should be. */
export function decodeRows(
  replies: readonly BrokerReply[],
  prefixes: readonly string[],
): FdTable | undefined {
  const rows: { body: DataView; at: number; link: string }[] = [];
  for (const { body, count } of replies) {
    if (body.byteLength !== count * ROW_BYTES) return undefined;
    for (let at = 0; at < body.byteLength; at += ROW_BYTES) {
      const room = ROW_BYTES - LINK_AT;
      const bytes = Math.min(body.getUint32(at + 48, LITTLE), room);
      const link = Buffer.from(body.buffer, body.byteOffset + at + LINK_AT, bytes).toString('utf8');
      if (prefixes.some(prefix => link.startsWith(prefix))) rows.push({ body, at, link });
    }
  }
  const u64 = (offset: number) => rows.map(({ body, at }) => body.getBigUint64(at + offset, LITTLE));
  const i32 = (offset: number) => rows.map(({ body, at }) => body.getInt32(at + offset, LITTLE));
  return {
    fd: Int32Array.from(i32(0)),
    errno: Int32Array.from(i32(4)),
    dev: BigUint64Array.from(u64(8)),
    ino: BigUint64Array.from(u64(16)),
    size: BigUint64Array.from(u64(24)),
    ctimeNs: BigInt64Array.from(rows.map(({ body, at }) => body.getBigInt64(at + 32, LITTLE))),
    blockBytes: Uint32Array.from(i32(40)),
    mode: Uint32Array.from(i32(44)),
    link: rows.map(({ link }) => link),
  };
}
