/** How the rig's kernels are booted, as data. Every boot runs the cases that name it, on each of its kernels. */
import type { KernelId } from './kernels.ts';

export type BootId =
  | 'zones'
  | 'movable-cma'
  | 'holes'
  | 'numa'
  | 'vfio'
  | 'gigantic'
  | 'gigantic-movable'
  | 'lockdown'
  | 'nested'
  | 'window'
  | 'browser';

export interface Boot {
  readonly id: BootId;
  readonly kernels: readonly KernelId[];
  readonly append: readonly string[];
  readonly memoryMiB: number;
  /**
   * Processors, 1 when left out: two VMs run at once on a machine of two, and emulated processors that wait for each other's locks
   * cost more than they do (a boot of “zones” with two took 1.9 times as long).
   */
  readonly cpus?: number;
  /** More arguments for the VM's own QEMU. */
  readonly qemuArgs?: readonly string[];
  /** With a browser on the machine outside, and a loopback port of it that leads in. */
  readonly outsideBrowser?: true;
  readonly timeoutSeconds: number;
}

export const boots: readonly Boot[] = [
  {
    // What the thread is about: a movable zone, a CMA area where the kernel has CMA, and a pool of huge pages.
    id: 'zones',
    kernels: ['6.12', '7.2', '6.1'],
    append: ['default_hugepagesz=2M', 'hugepagesz=2M', 'hugepages=300', 'movablecore=1G', 'cma=256M'],
    memoryMiB: 4096,
    timeoutSeconds: 1000,
  },
  {
    // Guest memory in ZONE_MOVABLE and in CMA at once: a movable zone that one guest fills, and behind it a zone of which about half
    // is CMA, where movable pages come from both halves in turn (mm/page_alloc.c __rmqueue). All below 4 GiB: no zone in between;
    // and the CMA area is kept below the movable zone, which is the last 256 MiB.
    id: 'movable-cma',
    kernels: ['7.2', '6.1'],
    append: ['movablecore=256M', 'cma=1664M@0-3200M'],
    // A multiple of a memory block, so that the movable zone is of whole blocks. The kernel's own tables take 64 MiB of it.
    memoryMiB: 3456,
    timeoutSeconds: 1200,
  },
  {
    // A movable zone that one guest fills, with pageblocks that begin in reserved memory and end in 128 usable pages, as beside
    // the tables of a machine's firmware. Such a block never gets its type (mm/mm_init.c memmap_init_range sets it at the
    // block's first page) and is Unmovable; with less than half of it free, no allocation turns it over (mm/page_alloc.c
    // steal_suitable_fallback).
    id: 'holes',
    kernels: ['6.12', '7.2', '6.1'],
    append: [
      'movablecore=256M',
      ...[0x5400_0000, 0x5480_0000, 0x5500_0000, 0x5580_0000, 0x5600_0000, 0x5680_0000].map(
        address => `memmap=1536K$0x${address.toString(16)}`,
      ),
    ],
    memoryMiB: 1536,
    timeoutSeconds: 300,
  },
  {
    // Two nodes, each with a CPU and 1 GiB. What races needs two as well.
    id: 'numa',
    kernels: ['6.12', '7.2', '6.1'],
    append: [],
    cpus: 2,
    qemuArgs: [0, 1].flatMap(node => [
      '-object',
      `memory-backend-ram,id=node${node},size=1G`,
      '-numa',
      `node,nodeid=${node},cpus=${node},memdev=node${node}`,
    ]),
    memoryMiB: 2048,
    timeoutSeconds: 600,
  },
  {
    // An emulated IOMMU and a network card behind it that a guest can have. The IOMMU does not remap interrupts, which vfio wants
    // to be told is fine.
    id: 'vfio',
    kernels: ['6.12', '7.2', '6.1'],
    append: ['intel_iommu=on', 'vfio_iommu_type1.allow_unsafe_interrupts=1', 'movablecore=1G'],
    qemuArgs: ['-machine', 'q35', '-device', 'intel-iommu', '-device', 'e1000e,addr=0xa,romfile='],
    memoryMiB: 3072,
    timeoutSeconds: 300,
  },
  {
    id: 'gigantic',
    kernels: ['6.12', '7.2', '6.1'],
    append: [
      'default_hugepagesz=2M',
      'hugepagesz=1G',
      'hugepages=1',
      'hugepagesz=2M',
      'hugepages=32',
      'numa=fake=2',
    ],
    // Room for 1 GiB in one piece on a fake node beside the hole below 4 GiB.
    memoryMiB: 6144,
    timeoutSeconds: 300,
  },
  {
    // Before the kernel has zones it takes 1 GiB from the top of memory, which becomes the movable zone: all above 4 GiB.
    id: 'gigantic-movable',
    kernels: ['6.12', '7.2'],
    append: [
      'default_hugepagesz=2M',
      'hugepagesz=1G',
      'hugepages=1',
      'hugepagesz=2M',
      'hugepages=40',
      'movablecore=3G',
    ],
    memoryMiB: 6144,
    timeoutSeconds: 300,
  },
  {
    id: 'lockdown',
    kernels: ['6.12'],
    append: ['lockdown=confidentiality'],
    memoryMiB: 2048,
    timeoutSeconds: 300,
  },
  {
    id: 'nested',
    kernels: ['6.12', '7.2'],
    append: ['default_hugepagesz=2M', 'hugepagesz=2M', 'hugepages=250'],
    memoryMiB: 4096,
    timeoutSeconds: 900,
  },
  {
    // An ordinary user's desktop beside a QEMU, in the same zones. An emulated window takes minutes, and is the same on every kernel:
    // each kernel has one case with it (6.1 in “movable-cma”).
    id: 'window',
    kernels: ['6.12', '7.2'],
    append: ['default_hugepagesz=2M', 'hugepagesz=2M', 'hugepages=64', 'movablecore=1G', 'cma=256M'],
    memoryMiB: 4096,
    cpus: 2,
    timeoutSeconds: 1500,
  },
  {
    // A headless development machine, looked at from elsewhere.
    id: 'browser',
    kernels: ['6.12', '7.2'],
    append: ['default_hugepagesz=2M', 'hugepagesz=2M', 'hugepages=64'],
    memoryMiB: 4096,
    cpus: 2,
    outsideBrowser: true,
    timeoutSeconds: 900,
  },
];
