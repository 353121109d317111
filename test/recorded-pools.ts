/** Recorded pools of huge pages, in `pools/` of the hosts of test/fixtures (test/rig/guest/record-pools.ts). */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Btf } from '../model/kernel/btf.ts';
import { POOL_TYPES, type PoolLayout, resolvePools } from '../model/kernel/huge-pools.ts';
import { hostsWith } from './fixtures.ts';
import { KernelImage } from './kernel-image.ts';

/** What `pools.json` holds. */
export interface RecordedPools {
  readonly symbols: Readonly<Record<string, string>>;
  readonly page: { readonly bytes: number; readonly vmemmap: string };
  /** By page size: PFNs of the free pages' heads, ascending, by /proc/kpageflags. */
  readonly free: readonly { readonly bytes: number; readonly pfns: readonly number[] }[];
}

export interface PoolRecording {
  /** `6.12` */
  readonly id: string;
  readonly btf: Btf;
  readonly btfBytes: Uint8Array;
  readonly symbols: ReadonlyMap<string, bigint>;
  readonly layout: PoolLayout;
  readonly page: { readonly bytes: number; readonly vmemmap: bigint };
  readonly free: RecordedPools['free'];
  /** Its memory, free to be changed. */
  readonly memory: () => KernelImage;
}

export const recordedPools: readonly PoolRecording[] = hostsWith('/pools/pools.json').map(host => {
  const file = (name: string) =>
    readFileSync(fileURLToPath(new URL(`./fixtures/${host}/pools/${name}`, import.meta.url)));
  const { symbols, page, free } = JSON.parse(String(file('pools.json'))) as RecordedPools;
  const addresses = new Map(Object.entries(symbols).map(([name, at]) => [name, BigInt(at)]));
  const btfBytes = new Uint8Array(file('btf'));
  const btf = Btf.parse(btfBytes, POOL_TYPES);
  const layout = resolvePools(btf, addresses);
  if ('missing' in layout) throw new Error(`${host}: ${layout.missing}`);
  const image = KernelImage.decode(file('memory.gz'));
  return {
    ...{ id: host.replace('linux-', ''), btf, btfBytes, symbols: addresses, layout, free },
    page: { bytes: page.bytes, vmemmap: BigInt(page.vmemmap) },
    memory: () => image.clone(),
  };
});
