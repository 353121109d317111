import { evaluate } from '../model/hazards/index.ts';
import { Past } from '../model/hazards/past.ts';
import { parseBufinfo } from '../model/host/bufinfo.ts';
import { heldBlocks } from '../model/join/blocks.ts';
import { mayBeUnfillable } from '../model/join/fillable.ts';
import { FrameMap } from '../model/join/frames.ts';
import type { RamView } from '../model/join/ram.ts';
import { joinTrace } from '../model/join/virtio.ts';
import { Scratch } from '../model/kernel/pages.ts';
import type { GpuTrace } from '../model/qemu/gpu-trace.ts';
import { absent, denied, known, mapReading, ok, type Reading } from '../model/reading.ts';
import { type Sample, type SampledResource, toSnapshot } from '../model/run-columns.ts';
import type { HostState, HugetlbPool, Snapshot, Target } from '../model/snapshot.ts';
import type { HostAccess } from './access.ts';
import { PoolReader } from './free-huge-pages.ts';
import { HOLDERS_GRANT } from './grants.ts';
import { type HeldBuffer, scanHolders } from './holders.ts';
import { type HostReadings, readHost } from './host.ts';
import { type Kernel, type OpenKernel, openKernel, readKernel } from './kernel.ts';
import { EntryCache, type KernelBuffer, readPinnedPages } from './pinned-pages.ts';
import { readStat, stillRuns } from './process.ts';
import { QemuTraces } from './qemu-trace.ts';
import { SourceLog } from './sources.ts';
import { readTarget } from './target.ts';

/** How far the slow part of a sample has come. */
export interface SampleProgress {
  readonly what: string;
  readonly done: number;
  readonly total: number;
}

/** Reads one host. Keeps the kernel's layout and memory open between samples; {@link close} when done. */
export class Sampler {
  private kernel: Kernel | undefined;
  private opened: Reading<OpenKernel> | undefined;
  /** Times at which rights came or went. */
  private rights = 0;
  private readonly entries = new EntryCache();
  private readonly scratch = new Scratch();
  private readonly past = new Past();
  private readonly pools: PoolReader;
  private readonly traces = new QemuTraces();

  constructor(private readonly host: HostAccess) {
    this.pools = new PoolReader(host.files);
  }

  /** One {@link sample} in the form of the schema. */
  async snapshot(
    pid: number,
    startTime?: bigint,
    onProgress?: (progress: SampleProgress) => void,
  ): Promise<Reading<Snapshot>> {
    return mapReading(await this.sample(pid, startTime, onProgress), toSnapshot);
  }

  /**
   * One sample of a process: `absent` when there is none of that pid, `raced` when it ended, or its pid went to another,
   * before or while it was read.
   * @param startTime of the process that is meant, when it was seen before
   */
  async sample(
    pid: number,
    startTime?: bigint,
    onProgress: (progress: SampleProgress) => void = () => {},
  ): Promise<Reading<Sample>> {
    const { files, native } = this.host;
    const log = new SourceLog();
    const stat = readStat(files, pid);
    if (stat.state === 'raced') return absent(stat.source, `there is no process ${pid}`);
    if (stat.state !== 'ok') return stat as Reading<never>;
    const id = { pid, startTime: startTime ?? stat.value.startTime };
    const before = stillRuns(files, id);
    if (before.state !== 'ok') return before as Reading<never>;

    const takenAt = new Date().toISOString();
    const kernel = this.readKernel(log);
    // Under way while the rest is read: most of it is waiting for copies of kernel memory.
    const opening = this.openKernel(kernel, log);
    const host = readHost(files, log);
    const { target, ram, tracing } = await readTarget(files, native, stat.value, log, known(host.nodes), () =>
      frameMap(host),
    );
    const traced =
      tracing && (await log.ofAsync('qemu-trace', () => this.traces.begin(files, native, tracing)));
    const buffers = await this.readHolders(pid, log, onProgress);
    const mine = [...buffers.values()]
      .filter(({ holders }) => holders.some(holder => holder.pid === pid))
      .sort((a, b) => a.inode - b.inode);
    onProgress({ what: 'reading kernel memory', done: 0, total: mine.length });
    const pages = await this.readPages(await opening, pid, mine, ram, host, log);
    const hugetlb = await this.readPools(await opening, kernel, target, host, log);
    const attached = pages.size > 0 ? undefined : this.readAttachments(log);
    const untold = mine.map(buffer =>
      toResource(buffer, pages.get(buffer.inode), attached?.get(buffer.inode)),
    );
    const trace =
      tracing && traced?.state === 'ok'
        ? known(await log.ofAsync('qemu-trace', () => this.traces.end(files, tracing)))
        : undefined;
    const resources = trace ? withVirtio(untold, pid, trace) : untold;
    const after = stillRuns(files, id);
    if (after.state !== 'ok') return after as Reading<never>;
    const sample = {
      schema: 'pinscope.snapshot/1' as const,
      takenAt,
      host: toHostState(host, kernel, resources, hugetlb),
      target,
      resources,
      sources: log.list(),
    };
    const judged = evaluate(sample, this.past.isOf(sample) ? this.past : null);
    this.past.observe(sample);
    return ok('sample', { ...sample, ...judged });
  }

  /** An earlier sample of the process that is sampled next, in the order of time: rules of time then have a past. */
  recall(earlier: Sample): void {
    this.past.observe(earlier);
  }

  /**
   * Rights came or went: what was opened with the old ones is closed at once, also under a sample that reads it (kernel memory is
   * `denied` in that one), and opened anew by the next sample.
   */
  rightsChanged(): void {
    this.rights++;
    this.close();
  }

  close(): void {
    if (this.opened?.state === 'ok') this.opened.value.memory.close();
    this.opened = undefined;
  }

  private readKernel(log: SourceLog): Kernel {
    const started = performance.now();
    this.kernel ??= readKernel(this.host.files);
    log.note('btf', this.kernel.btf, performance.now() - started, this.kernel.evidence);
    return this.kernel;
  }

  private async openKernel(kernel: Kernel, log: SourceLog): Promise<Reading<OpenKernel>> {
    if (this.opened?.state === 'ok') return this.opened;
    const started = performance.now();
    const { rights } = this;
    let opened = await openKernel(this.host.files, this.host.native, kernel);
    if (rights !== this.rights && opened.state === 'ok') {
      opened.value.memory.close();
      opened = denied(opened.source, 'rights changed while it was opened', 'the next sample');
    }
    this.opened = opened;
    log.note('kernel-memory', opened, performance.now() - started);
    return opened;
  }

  /** All dma-bufs that a process holds. `denied` is noted where some process hides its files, and what was found is used. */
  private async readHolders(
    pid: number,
    log: SourceLog,
    onProgress: (progress: SampleProgress) => void,
  ): Promise<ReadonlyMap<number, HeldBuffer>> {
    const started = performance.now();
    const { buffers, hidden, processes } = await scanHolders(
      this.host.files,
      this.host.native,
      undefined,
      (done, total) => onProgress({ what: 'looking for holders of dma-bufs', done, total }),
    );
    const source = '/proc/*/fd, /proc/*/maps';
    const others = `${hidden.size} of ${processes} processes hide their files from this user: they may hold buffers too`;
    const detail = hidden.has(pid) ? `this process is denied, and so its dma-bufs; ${others}` : others;
    const reading = hidden.size > 0 ? denied(source, detail, HOLDERS_GRANT) : ok(source, buffers);
    log.note('holders', reading, performance.now() - started);
    return buffers;
  }

  /** Inode → pages; empty where kernel memory cannot be read. */
  private async readPages(
    opened: Reading<OpenKernel>,
    pid: number,
    mine: readonly HeldBuffer[],
    ram: RamView,
    host: HostReadings,
    log: SourceLog,
  ): Promise<Map<number, KernelBuffer>> {
    if (opened.state !== 'ok') return new Map();
    const inodes = new Set(mine.map(({ inode }) => inode));
    const request = {
      kernel: opened.value,
      pid,
      ram,
      frames: frameMap(host),
      blockOrder: known(host.pageTypes)?.pageblockOrder,
      entries: this.entries,
      scratch: this.scratch,
      wanted: (inode: number) => inodes.has(inode),
    };
    return known(await readPinnedPages(this.host.files, this.host.native, request, log)) ?? new Map();
  }

  /** The pools, with the free pages that can fill a hole where this process has holes and not every free page can. */
  private async readPools(
    opened: Reading<OpenKernel>,
    { era }: Kernel,
    { ram }: Target,
    host: HostReadings,
    log: SourceLog,
  ): Promise<readonly HugetlbPool[] | null> {
    const pools = known(host.hugetlb) ?? null;
    const zones = known(host.zones);
    if (!pools || !zones || era !== 'folio-pins' || !mayBeUnfillable(zones)) return pools;
    const lacking = new Set(
      (ram ?? []).flatMap(({ pageSizeBytes, allocatedBytes, sizeBytes }) =>
        pageSizeBytes !== null && pageSizeBytes > 4096 && (allocatedBytes ?? 0) < sizeBytes
          ? pageSizeBytes
          : [],
      ),
    );
    const read: HugetlbPool[] = [];
    for (const pool of pools) {
      if (pool.node !== null || !lacking.has(pool.pageSizeBytes)) {
        read.push(pool);
        continue;
      }
      const reading = await log.ofAsync('free-huge-pages', async () =>
        opened.state === 'ok'
          ? this.pools.fillable({
              kernel: opened.value,
              pageSizeBytes: pool.pageSizeBytes,
              nodes: [...new Set(zones.filter(zone => zone.presentPages > 0).map(({ node }) => node))],
              frames: frameMap(host),
              hasCma: zones.some(({ cmaPages }) => (cmaPages ?? 0) > 0),
              blockOrder: known(host.pageTypes)?.pageblockOrder,
            })
          : (opened as Reading<never>),
      );
      read.push({ ...pool, fillable: known(reading) ?? null });
    }
    return read;
  }

  /** Only where kernel memory did not tell: the kernel takes every buffer's reservation lock to print this. */
  private readAttachments(log: SourceLog): Map<number, { devices: readonly string[]; count: number }> {
    const bufinfo = log.of('bufinfo', () =>
      this.host.files.parsed('/sys/kernel/debug/dma_buf/bufinfo', parseBufinfo),
    );
    return new Map((known(bufinfo) ?? []).map(entry => [Number(entry.inode), entry]));
  }
}

function frameMap(host: HostReadings): FrameMap | undefined {
  const zones = known(host.zones);
  const blocks = known(host.blocks);
  return zones && new FrameMap(zones, blocks?.blocks, blocks?.blockBytes);
}

function toResource(
  held: HeldBuffer,
  kernel: KernelBuffer | undefined,
  bufinfo: { devices: readonly string[]; count: number } | undefined,
): SampledResource {
  const createdNs = held.createdNs ?? kernel?.buffer.createdNs ?? null;
  return {
    inode: held.inode,
    sizeBytes: held.sizeBytes ?? kernel?.buffer.sizeBytes ?? null,
    exporter: held.exporter ?? (kernel?.buffer.isUdmabuf ? 'udmabuf' : null),
    name: held.name,
    createdAt: createdNs === null ? null : new Date(Number(createdNs / 1_000_000n)).toISOString(),
    count: held.count ?? bufinfo?.count ?? null,
    holders: held.holders,
    attachments:
      kernel?.buffer.attachments.map(({ device, mapped }) => ({ device, mapped: mapped ?? null })) ??
      bufinfo?.devices.map(device => ({ device, mapped: null })) ??
      null,
    virtio: null,
    pages: kernel?.pages
      ? {
          source: 'kernel-memory',
          count: kernel.pages.count,
          folioBytes: kernel.pages.folioBytes,
          folios: kernel.pages.folios,
          pinReferences: kernel.pages.pins,
          pageReferences: kernel.pages.pageReferences,
          withoutFile: kernel.pages.withoutFile,
          runs: kernel.pages.runs,
        }
      : null,
  };
}

/** Only what QEMU made and still has mapped: a dma-buf that it has not mapped may be left of a resource that is gone. */
function withVirtio(resources: readonly SampledResource[], pid: number, trace: GpuTrace): SampledResource[] {
  const mapped = resources.filter(
    ({ exporter, holders }) =>
      exporter === 'udmabuf' && holders.some(holder => holder.pid === pid && holder.mappings.length > 0),
  );
  const told = joinTrace(
    mapped.map(({ inode, sizeBytes, createdAt }) => ({
      inode,
      sizeBytes,
      createdMs: createdAt === null ? null : Date.parse(createdAt),
    })),
    trace,
  );
  return resources.map(resource => ({ ...resource, virtio: told.get(resource.inode) ?? null }));
}

function toHostState(
  host: HostReadings,
  kernel: Kernel,
  resources: readonly SampledResource[],
  hugetlb: HostState['hugetlb'],
): HostState {
  const blocks = known(host.blocks);
  return {
    kernel: {
      release: known(host.release) ?? '',
      udmabufEra: kernel.era,
      evidence: kernel.evidence,
      traits: kernel.traits,
    },
    pageSize: 4096,
    memoryBlockBytes: blocks?.blockBytes ?? null,
    zones: known(host.zones) ?? null,
    migratetypes: known(host.pageTypes)?.types ?? null,
    hugetlb,
    cma: known(host.cma) ?? null,
    memoryBlocks: blocks ? heldBlocks(blocks.blocks, blocks.blockBytes / 4096, resources) : null,
    nodes: known(host.nodes) ?? null,
    follPin: known(host.follPin) ?? null,
    udmabuf: host.udmabuf,
  };
}
