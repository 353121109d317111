import type { RamBackend } from '../snapshot.ts';
import { isOn } from './blobs.ts';
import { mayBeUdmabuf, type Reason, type Unjudged, whyMissing } from './rule.ts';

/** Words for a backend in a sentence: QEMU's id, else its inode. */
export const ramName = ({ id, inode }: RamBackend): string => id ?? `memfd ${inode}`;

/**
 * Whether udmabufs are made of this process's memory: it holds one, has the device open, or is a QEMU with a virtio-gpu that has blob
 * resources.
 */
export function makesUdmabufs({ target, resources }: Unjudged): boolean {
  if (resources.some(mayBeUdmabuf) || (target.open?.udmabuf ?? 0) > 0) return true;
  return target.devices?.virtioGpu.some(({ properties }) => isOn(properties.blob)) ?? false;
}

/** Memfds whose pages are larger than the machine's, as far as is known; and why it may not be all. */
export function hugetlbRam({ target, host, sources }: Unjudged): {
  readonly ram: readonly RamBackend[];
  readonly because: readonly Reason[];
} {
  if (target.ram === null) {
    const why = whyMissing('the memory of this process is not known', sources, ['maps'], 'not read');
    return { ram: [], because: [why] };
  }
  const unknown = target.ram.filter(({ pageSizeBytes }) => pageSizeBytes === null);
  return {
    ram: target.ram.filter(({ pageSizeBytes }) => (pageSizeBytes ?? 0) > host.pageSize),
    because: unknown.map(ram => `the page size of ${ramName(ram)} is not known`),
  };
}

export const sum = <T>(list: readonly T[], of: (each: T) => number): number =>
  list.reduce((total, each) => total + of(each), 0);
