// Types of electron-runtime.mjs, which runs before anything that compiles is installed.
import type { StandInSpec } from './electron-stand-in.mjs';

export interface Runtime {
  /** The binary. */
  readonly path: string;
  /** The folder of an unpacked Electron release that it lies in. */
  readonly dist: string;
  readonly version: string;
  readonly kind: 'explicit' | 'pinned' | 'stand-in';
  /** A sentence that the window must show; `null`: this is the release that the program is made for. */
  readonly notice: string | null;
}

export interface FindOptions {
  readonly allowDownload: boolean;
  /** The checkout; default: that of this file. */
  readonly root?: string;
  /** Default: this process's. */
  readonly env?: NodeJS.ProcessEnv;
  readonly standIn?: StandInSpec;
  /** Default: standard error. */
  readonly log?: (line: string) => void;
}

export function findRuntime(options: FindOptions): Runtime;
export function cacheFolder(env?: NodeJS.ProcessEnv): string;
