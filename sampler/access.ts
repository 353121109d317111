import { loadNative, type Native } from '../native/index.ts';
import { HostFiles } from './files.ts';

/** How a host is read: its files, and the addon for what Node cannot do. */
export interface HostAccess {
  readonly files: HostFiles;
  readonly native: Native;
}

/** This machine, with the rights of this process. Throws when the addon is not built. */
export function openHost(): HostAccess {
  return { files: new HostFiles(), native: loadNative() };
}
