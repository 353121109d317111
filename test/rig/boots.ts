/** How the rig's kernels are booted, as data. Every boot runs the cases that name it, on each of its kernels. */
import type { KernelId } from './kernels.ts';

export type BootId = 'zones' | 'gigantic' | 'lockdown' | 'nested' | 'window';

export interface Boot {
  readonly id: BootId;
  readonly kernels: readonly KernelId[];
  readonly append: readonly string[];
  readonly memoryMiB: number;
  readonly timeoutSeconds: number;
}

export const boots: readonly Boot[] = [
  {
    // What the thread is about: a movable zone, a CMA area where the kernel has CMA, and a pool of huge pages.
    id: 'zones',
    kernels: ['6.12', '7.2', '6.1'],
    append: ['default_hugepagesz=2M', 'hugepagesz=2M', 'hugepages=300', 'movablecore=1G', 'cma=256M'],
    memoryMiB: 4096,
    timeoutSeconds: 600,
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
    // An ordinary user's desktop beside a QEMU, in the same zones.
    id: 'window',
    kernels: ['6.12', '7.2', '6.1'],
    append: ['default_hugepagesz=2M', 'hugepagesz=2M', 'hugepages=64', 'movablecore=1G', 'cma=256M'],
    memoryMiB: 4096,
    timeoutSeconds: 900,
  },
];
