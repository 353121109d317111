import { statSync } from 'node:fs';
import { parseCma } from '../model/host/cma.ts';
import { parseCpuList } from '../model/host/cpulist.ts';
import { parseHugepages } from '../model/host/hugepages.ts';
import { hasHoles, parseSystemRam } from '../model/host/iomem.ts';
import { type MemoryBlocks, parseMemoryBlocks } from '../model/host/memory-blocks.ts';
import { type PageTypeInfo, parsePageTypeInfo } from '../model/host/pagetypeinfo.ts';
import { follPin, parseVmstat } from '../model/host/vmstat.ts';
import { parseZoneinfo } from '../model/host/zoneinfo.ts';
import { Format } from '../model/lines.ts';
import { absent, known, type Reading } from '../model/reading.ts';
import type { CmaArea, HostState, HugetlbPool, NodeState, ZoneState } from '../model/snapshot.ts';
import { type HostFiles, understood } from './files.ts';
import type { SourceLog } from './sources.ts';

/** The machine's own counters; cheap enough for every sample. */
export interface HostReadings {
  readonly release: Reading<string>;
  readonly zones: Reading<ZoneState[]>;
  readonly pageTypes: Reading<PageTypeInfo>;
  readonly hugetlb: Reading<HugetlbPool[]>;
  readonly cma: Reading<CmaArea[]>;
  readonly blocks: Reading<MemoryBlocks>;
  readonly nodes: Reading<NodeState[]>;
  readonly follPin: Reading<NonNullable<HostState['follPin']>>;
  readonly udmabuf: HostState['udmabuf'];
}

const HUGEPAGES = '/sys/kernel/mm/hugepages';
const NODES = '/sys/devices/system/node';
const CMA = '/sys/kernel/mm/cma';
const CMA_DEBUG = '/sys/kernel/debug/cma';
const BLOCKS = '/sys/devices/system/memory';
const PARAMETERS = '/sys/module/udmabuf/parameters';

export function readHost(files: HostFiles, log: SourceLog): HostReadings {
  const parameter = (name: string) =>
    log.of(`udmabuf ${name}`, () =>
      files.parsed(`${PARAMETERS}/${name}`, text => new Format(name).single(text, 'a whole number')),
    );
  const listLimit = parameter('list_limit');
  const sizeLimitMb = parameter('size_limit_mb');
  const zones = log.of('zoneinfo', () => files.parsed('/proc/zoneinfo', parseZoneinfo));
  return {
    release: understood(files.text('/proc/sys/kernel/osrelease'), text => text.trim()),
    zones,
    pageTypes: log.of('pagetypeinfo', () => files.parsed('/proc/pagetypeinfo', parsePageTypeInfo)),
    hugetlb: log.of('hugepages', () => readHugepages(files)),
    cma: log.of('cma', () => readCma(files, known(zones))),
    blocks: log.of('memory-blocks', () => readBlocks(files)),
    nodes: log.of('nodes', () => readNodes(files)),
    follPin: log.of('vmstat', () => readFollPin(files)),
    udmabuf: {
      device: log.of('/dev/udmabuf', () => files.usable('/dev/udmabuf')).state,
      listLimit: listLimit.state === 'ok' ? listLimit.value : null,
      sizeLimitMb: sizeLimitMb.state === 'ok' ? sizeLimitMb.value : null,
      node: readDeviceNode(files),
    },
  };
}

/** Whose /dev/udmabuf is, and who may open it; anyone may ask. ACLs (udev's uaccess) are not in the mode. */
function readDeviceNode(files: HostFiles): NonNullable<HostState['udmabuf']['node']> | null {
  try {
    const { uid, gid, mode } = statSync(files.at('/dev/udmabuf'));
    return { uid, gid, mode: mode & 0o7777 };
  } catch {
    return null;
  }
}

function readHugepages(files: HostFiles): Reading<HugetlbPool[]> {
  const wanted = /\/hugepages-\d+kB\/\w+$/;
  const global = files.tree(HUGEPAGES, wanted, 1);
  if (global.state !== 'ok') return global as Reading<never>;
  const nodes = files.tree(NODES, wanted, 3, /\/node(\d+(\/hugepages(\/.*)?)?)?$/);
  return understood(global, all =>
    parseHugepages(new Map([...all, ...(nodes.state === 'ok' ? nodes.value : [])])),
  );
}

function readCma(files: HostFiles, zones: readonly ZoneState[] | undefined): Reading<CmaArea[]> {
  // An area without any file that tells its size (6.1) is named all the same.
  const areas = files.tree(CMA, /\/cma\/[^/]+\/\w+$/, 1);
  if (areas.state !== 'ok') return areas as Reading<never>;
  // Where an area begins is in debugfs, for root alone.
  const bases = files.tree(CMA_DEBUG, /\/(base_pfn|count)$/, 3);
  const total = zones?.every(({ cmaPages }) => cmaPages !== null)
    ? zones.reduce((sum, { cmaPages }) => sum + (cmaPages ?? 0), 0)
    : null;
  return understood(areas, all => parseCma(new Map([...all, ...(known(bases) ?? [])]), total));
}

function readBlocks(files: HostFiles): Reading<MemoryBlocks> {
  const tree = files.tree(BLOCKS, /\/(block_size_bytes|state|valid_zones|node\d+)$/, 1, /\/memory(\d+)?$/);
  // Without CAP_SYS_ADMIN its addresses are zero.
  const ram = known(files.parsed('/proc/iomem', parseSystemRam)) ?? null;
  return understood(tree, all => {
    const { blockBytes, blocks } = parseMemoryBlocks(all);
    const rangeOf = (block: number) => ({ start: block * blockBytes, end: (block + 1) * blockBytes });
    return {
      blockBytes,
      blocks: blocks.map(block => ({ ...block, holes: hasHoles(ram, rangeOf(block.block)) })),
    };
  });
}

function readNodes(files: HostFiles): Reading<NodeState[]> {
  const lists = files.tree(NODES, /\/node\d+\/cpulist$/, 1, /\/node\d+$/);
  if (lists.state === 'ok' && lists.value.size === 0) return absent(NODES, 'no node tells its CPUs');
  return understood(lists, all =>
    [...all]
      .map(([path, text]) => ({
        node: Number(/\/node(\d+)\/cpulist$/.exec(path)?.[1]),
        cpus: parseCpuList(text),
      }))
      .sort((a, b) => a.node - b.node),
  );
}

function readFollPin(files: HostFiles): Reading<NonNullable<HostState['follPin']>> {
  // Reading it folds the per-CPU counters (mm/vmstat.c vmstat_refresh); without the right they lag a little.
  files.text('/proc/sys/vm/stat_refresh');
  const counters = files.parsed('/proc/vmstat', text => follPin(parseVmstat(text)));
  if (counters.state === 'ok' && counters.value === null) {
    return absent('/proc/vmstat', 'this kernel does not count FOLL_PIN');
  }
  return counters as Reading<NonNullable<HostState['follPin']>>;
}
