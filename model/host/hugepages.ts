import { type Files, Format } from '../lines.ts';
import type { HugetlbPool } from '../snapshot.ts';

const format: Format = new Format('hugepages');
const PATH = /(?:^|\/)(?:node(\d+)\/hugepages\/)?hugepages-(\d+)kB\/(\w+)$/;

/**
 * The pools of /sys/kernel/mm/hugepages/hugepages-NkB and /sys/devices/system/node/nodeK/hugepages/hugepages-NkB
 * (mm/hugetlb.c, hugetlb_sysfs.c): `nr_hugepages`, `free_hugepages`, `surplus_hugepages`, and for the machine also
 * `resv_hugepages` and `nr_overcommit_hugepages`, in huge pages. Paths may be absolute or relative; others are ignored.
 * The machine comes first, each by page size. No files, no pools: a kernel without hugetlb.
 */
export function parseHugepages(files: Files): HugetlbPool[] {
  const pools = new Map<string, { node: number | null; kiloBytes: number; values: Map<string, string> }>();
  for (const [path, text] of files) {
    const match = PATH.exec(path);
    if (!match) continue;
    const [, nodeText, size = '', file = ''] = match;
    const node = nodeText === undefined ? null : format.count(nodeText, 'the number of a node');
    const kiloBytes = format.count(size, 'the page size in kB');
    const key = `${node} ${kiloBytes}`;
    const pool = pools.get(key) ?? { node, kiloBytes, values: new Map() };
    pools.set(key, pool);
    pool.values.set(file, text);
  }
  return [...pools.values()]
    .map(poolOf)
    .sort((a, b) => (a.node ?? -1) - (b.node ?? -1) || a.pageSizeBytes - b.pageSizeBytes);
}

function poolOf(pool: { node: number | null; kiloBytes: number; values: Map<string, string> }): HugetlbPool {
  const { node, kiloBytes, values } = pool;
  const where = `hugepages-${kiloBytes}kB${node === null ? '' : ` of node ${node}`}`;
  const pageSizeBytes = kiloBytes * 1024;
  if (!Number.isSafeInteger(pageSizeBytes) || pageSizeBytes === 0) throw format.error('a page size', where);
  const text = (file: string): string => {
    const value = values.get(file);
    if (value === undefined) throw format.error(`${file} in ${where}`, [...values.keys()].join(' '));
    return value;
  };
  const machine = node === null;
  return {
    pageSizeBytes,
    node,
    total: format.single(text('nr_hugepages'), 'nr_hugepages'),
    free: format.single(text('free_hugepages'), 'free_hugepages'),
    reserved: machine ? reservedOf(text('resv_hugepages')) : null,
    surplus: format.single(text('surplus_hugepages'), 'surplus_hugepages'),
    overcommit: machine ? format.single(text('nr_overcommit_hugepages'), 'nr_overcommit_hugepages') : null,
  };
}

/** A wrapped counter stays what the kernel prints: a decimal string. */
function reservedOf(text: string): number | string {
  const value = format.u64(text.replace(/\n$/, ''), 'resv_hugepages');
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : String(value);
}
