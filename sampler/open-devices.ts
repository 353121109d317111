import { DEVICE_LINKS, openDevices, VDPA_LINK } from '../model/proc/open-devices.ts';
import { mapReading, type Reading } from '../model/reading.ts';
import type { OpenDevices } from '../model/snapshot.ts';
import type { Native } from '../native/index.ts';
import type { HostFiles } from './files.ts';
import { readFds } from './process.ts';

/**
 * Devices of the kernel that a process has open, by the links of /proc/PID/fd: nothing is opened. Where only the broker may look,
 * vhost-vdpa is `null`: it lists no such links (docs/BROKER.md).
 */
export async function readOpenDevices(
  files: HostFiles,
  native: Native,
  pid: number,
): Promise<Reading<OpenDevices>> {
  const all = await readFds(files, native, pid, [...DEVICE_LINKS, VDPA_LINK]);
  if (all.state !== 'denied') return mapReading(all, ({ link }) => openDevices(link, true));
  return mapReading(await readFds(files, native, pid, DEVICE_LINKS), ({ link }) => openDevices(link, false));
}
