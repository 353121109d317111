import { closeSync } from 'node:fs';
import { absent, denied, known, ok, type Reading } from '../model/reading.ts';
import type { SourceState } from '../model/snapshot.ts';
import type { HostAccess } from './access.ts';
import { understood } from './files.ts';
import { KERNEL_MEMORY_GRANT, PAGES_GRANT } from './grants.ts';
import { openKernel, readKernel } from './kernel.ts';
import { readFds } from './process.ts';
import { SourceLog } from './sources.ts';

/** A source of the host with what it is good for. */
export interface Capability extends SourceState {
  readonly gives: string;
}

/** What this user can read on this host, what not, why, and what would grant it. Changes nothing. */
export async function readCapabilities(host: HostAccess): Promise<Capability[]> {
  const { files, native } = host;
  const log = new SourceLog();
  const gives = new Map<string, string>();
  const probe = (name: string, what: string, read: () => Reading<unknown>) => {
    gives.set(name, what);
    return log.of(name, read);
  };
  const opens = (path: string) => () => {
    const fd = files.open(path);
    if (fd.state === 'ok') closeSync(fd.value);
    return fd;
  };
  probe('/dev/udmabuf', 'whether QEMU run by this user could make udmabufs', () =>
    files.usable('/dev/udmabuf'),
  );
  const kernel = readKernel(files);
  gives.set('BTF', 'how this kernel lays out its structures');
  log.note('BTF', kernel.btf, 0, kernel.evidence);
  probe('zoneinfo', 'zones and nodes of page frames', opens('/proc/zoneinfo'));
  probe('pagetypeinfo', 'size of a pageblock, migratetypes a zone', opens('/proc/pagetypeinfo'));
  probe('memory blocks', 'hotplug blocks, their zones and nodes', () =>
    files.text('/sys/devices/system/memory/block_size_bytes'),
  );
  probe('hugetlb pools', 'huge pages by size and node', () => files.names('/sys/kernel/mm/hugepages'));
  probe('CMA areas', 'contiguous memory areas', () => files.names('/sys/kernel/mm/cma'));
  probe('vmstat', 'FOLL_PIN references of the whole machine', opens('/proc/vmstat'));
  probe('kpageflags', 'flags of page frames', opens('/proc/kpageflags'));
  probe('kpagecount', 'mappings of page frames', opens('/proc/kpagecount'));
  await log.ofAsync('other processes', () => readOthers(host));
  gives.set('other processes', 'holders of buffers in all processes');
  await log.ofAsync('pagemap PFNs', () => readPagemapPfn(host));
  gives.set('pagemap PFNs', 'page frames behind a process’s addresses');
  probe('bufinfo', 'attached devices of dma-bufs', opens('/sys/kernel/debug/dma_buf/bufinfo'));
  probe('tracefs', 'events of buffers as they are made', () => files.names('/sys/kernel/tracing/events'));
  gives.set('kernel memory', 'the exact pages of every udmabuf');
  const opened = await openKernel(files, native, kernel);
  log.note('kernel memory', opened, 0, known(opened) ? `symbols from ${known(opened)?.symbols}` : '');
  if (opened.state === 'ok') opened.value.memory.close();
  return log.list().map(row => ({ ...row, gives: gives.get(row.name) ?? '' }));
}

/** init belongs to root: who may list its files may list everyone's. */
async function readOthers({ files, native }: HostAccess): Promise<Reading<unknown>> {
  const fds = await readFds(files, native, 1, ['/dmabuf:']);
  return fds.state === 'denied'
    ? { ...fds, grant: `root (CAP_SYS_PTRACE) or ${KERNEL_MEMORY_GRANT}; your own processes are seen anyway` }
    : fds;
}

/** Our own page table, at a page that is surely present: a PFN of 0 there means that the kernel hides PFNs from us. */
async function readPagemapPfn({ files, native }: HostAccess): Promise<Reading<unknown>> {
  const path = '/proc/self/pagemap';
  const fd = files.open(path);
  if (fd.state !== 'ok') return fd;
  try {
    const maps = understood(files.text('/proc/self/maps'), text => Number.parseInt(text, 16) / 4096);
    const first = known(maps);
    if (first === undefined) return maps;
    const runs = await native.readPageRuns(fd.value, {
      first: Float64Array.of(first),
      count: Float64Array.of(1),
    });
    if (((runs.flags[0] ?? 0) & 0x100) === 0)
      return absent(path, 'the page that was asked for is not present');
    return runs.frame[0] === 0
      ? denied(
          path,
          'the kernel shows presence, and 0 for every PFN',
          `root (CAP_SYS_ADMIN) or ${PAGES_GRANT}`,
        )
      : ok(path, true);
  } finally {
    closeSync(fd.value);
  }
}
