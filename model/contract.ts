/**
 * Everything that processes of the program say to each other, in one file: window ⇄ sampler over a MessagePort, window ⇄
 * shell over the preload's closed surface. Types, and the constants that both sides must agree on; no behaviour.
 * What a sampler says travels in the form of `model/wire.ts`; calls are small and JSON.
 */
import type { CommandId } from './commands.ts';
import type { ProcessList } from './process-list.ts';
import type { RecordingState, SessionListing } from './recordings.ts';
import type { Sample } from './run-columns.ts';

/** Raised with every change that the other side must know of; the two sides come from one build. */
export const CONTRACT_VERSION = 1;

/** A process for good: a pid comes back, with its start time it does not. */
export interface TargetId {
  readonly pid: number;
  /** Clock ticks since boot, decimal (/proc/PID/stat field 22). */
  readonly startTime: string;
}

// ---------------------------------------------------------------------------------------------- privilege

/**
 * What the broker may open. `pages`: page table, page flags, maps and open files of one process. `kernel-memory`: that
 * of every process, and /proc/kcore with all that the kernel holds, which the exact pages of a udmabuf need.
 */
export type PrivilegeLevel = 'pages' | 'kernel-memory';

/** How far this user's rights reach now. */
export type PrivilegeState =
  /** The sampler itself runs as root. */
  | { readonly state: 'root' }
  | {
      readonly state: 'ungranted';
      /** Why an attempt ended without a grant, or an earlier grant is over; `null`: nobody asked yet. */
      readonly last: PrivilegeRefusal | null;
      /** What the first grant would put on this machine; `null`: everything is installed. */
      readonly install: InstallPlan | null;
    }
  /** The user is being asked (polkit's or sudo's own prompt). */
  | { readonly state: 'asking'; readonly level: PrivilegeLevel }
  | {
      readonly state: 'granted';
      readonly level: PrivilegeLevel;
      /** `pages` reaches one process. */
      readonly target: TargetId | null;
      readonly brokerPid: number;
    };

export interface PrivilegeRefusal {
  /**
   * `dismissed`: the user closed the prompt. `refused`: policy or password said no. `unavailable`: nothing can ask (no pkexec, no
   * agent). `lost`: the broker ended. `failed`: anything else.
   */
  readonly reason: 'dismissed' | 'refused' | 'unavailable' | 'lost' | 'failed';
  /** A sentence with what happened and what to do. */
  readonly detail: string;
}

/** Exactly what would be installed, as root, where. */
export interface InstallPlan {
  readonly files: readonly {
    readonly path: string;
    readonly bytes: number;
    readonly sha256: string;
    /** Octal, as chmod takes it. */
    readonly mode: string;
    /** A sentence: what it is for. */
    readonly purpose: string;
  }[];
  /** One shell line that removes all of it. */
  readonly removal: string;
}

// ---------------------------------------------------------------------------------------------- window ⇄ sampler

/** What a window may ask of the sampler. Every call answers or rejects; one session a port. */
export interface SamplerService {
  /** All QEMUs and all holders of udmabufs, now. */
  listProcesses(): Promise<ProcessList>;
  /** Samples of this process begin to come as events; `null`: they end. Replaces an earlier target of this session. */
  watch(target: TargetId | null): Promise<void>;
  /** Samples stop to come, and go on. */
  setPaused(paused: boolean): Promise<void>;
  /**
   * Asks the user for rights; answers when that is decided, with the state it left. A refusal is a state, no rejection.
   * @param install whether the user said yes to the plan; without it nothing is installed
   */
  grant(level: PrivilegeLevel, target: TargetId | null, install: boolean): Promise<PrivilegeState>;
  /** Ends the broker. */
  revoke(): Promise<PrivilegeState>;
  /**
   * Begins to record the samples of the watched process into a file of the user's folder, or ends it. Another target ends it too. What the
   * file system refuses is a state.
   */
  record(on: boolean): Promise<RecordingState>;
  listSessions(): Promise<SessionListing>;
  /** At most SESSION_PIECE_BYTES of a recording; shorter at its end, empty behind it. */
  readSession(name: string, offset: number, bytes: number): Promise<Uint8Array>;
}

export type SamplerEvent =
  /** First of all. */
  | {
      readonly type: 'hello';
      readonly contract: number;
      readonly samplerPid: number;
      readonly privilege: PrivilegeState;
      readonly periodMs: number;
    }
  /** The list that is kept up to date while no target is watched, and now and then beside one. */
  | { readonly type: 'processes'; readonly list: ProcessList }
  /** `timing` is `null` where what it cost was not kept: in a recording. */
  | { readonly type: 'sample'; readonly sample: Sample; readonly timing: SampleTiming | null }
  | { readonly type: 'progress'; readonly what: string; readonly done: number; readonly total: number }
  /** A sample failed. `gone`: the process ended, no further samples come; else the next one is tried at its time. */
  | { readonly type: 'failed'; readonly target: TargetId; readonly gone: boolean; readonly detail: string }
  | { readonly type: 'privilege'; readonly privilege: PrivilegeState }
  /** With every change of it: also with every sample that was written. */
  | { readonly type: 'recording'; readonly recording: RecordingState };

/** What a sample cost, and what was lost to it. */
export interface SampleTiming {
  /** From the first read to the last, milliseconds. */
  readonly wallMs: number;
  /** CPU time of the sampler process in it, milliseconds. */
  readonly cpuMs: number;
  /** Samples of this session until now, this one included. */
  readonly taken: number;
  /**
   * Times at which a sample was due while the one before was still being taken, and samples that a slow connection could not take:
   * left out, never queued.
   */
  readonly skipped: number;
  /** Resident memory of the sampler process, bytes; missing where it was not kept. */
  readonly rssBytes?: number;
}

export type ToSampler = {
  readonly [M in keyof SamplerService]: {
    readonly kind: 'call';
    readonly id: number;
    readonly method: M;
    readonly args: Readonly<Parameters<SamplerService[M]>>;
  };
}[keyof SamplerService];

export type FromSampler =
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'error'; readonly id: number; readonly message: string }
  | { readonly kind: 'event'; readonly event: SamplerEvent };

// ---------------------------------------------------------------------------------------------- window ⇄ shell

/** What the preload puts at `window.pinscope`, and nothing else. */
export interface ShellApi {
  /** Asked once at start. */
  startup(): Promise<Startup>;
  /** From the menu. Returns what ends it. */
  onCommand(listener: (id: CommandId) => void): () => void;
  /** The sampler's state as the shell sees it; a new port comes with every `running`. Returns what ends it. */
  onSampler(listener: (state: SamplerHostState) => void): () => void;
  /** A second start named a process. Returns what ends it. */
  onOpen(listener: (target: OpenRequest) => void): () => void;
  /**
   * Takes a picture of the window as it is and asks the user where to save it. Returns the path; `null`: the user did not want to.
   * Rejects with a sentence where it cannot be written. Only the desktop window can; a browser gives no page its own pixels.
   */
  savePicture?(): Promise<string | null>;
}

export interface Startup {
  readonly version: string;
  /** The runtime when it is not the one that users get: one line to show. */
  readonly runtimeNotice: string | null;
  /** How the terminal program is called from a shell, for lines that are copied (`recheckAs`); missing: `pinscope`. */
  readonly program?: string;
  readonly open: OpenRequest;
}

/** What a start asked for: `--pid N`, or nothing. */
export interface OpenRequest {
  readonly pid: number | null;
}

export type SamplerHostState =
  /** A port to it is on its way as a window message {@link SAMPLER_PORT_MESSAGE}. */
  | { readonly state: 'running'; readonly restarts: number }
  | { readonly state: 'restarting'; readonly restarts: number; readonly detail: string }
  /** It crashed too often. */
  | { readonly state: 'failed'; readonly restarts: number; readonly detail: string };

/** `data` of the window message that carries a sampler's port: a port passes no context bridge. */
export const SAMPLER_PORT_MESSAGE = 'pinscope-sampler-port';

/** Channels of the shell; the gate refuses all others. */
export const SHELL_CHANNELS = {
  startup: 'pinscope:startup',
  savePicture: 'pinscope:save-picture',
  command: 'pinscope:command',
  sampler: 'pinscope:sampler',
  port: 'pinscope:port',
  open: 'pinscope:open',
} as const;

// ---------------------------------------------------------------------------------------------- page ⇄ browser shell

/** How a page in a browser finds `pinscope serve`, and where that answers. The token travels in headers, never in a URL's path. */
export const BROWSER_SHELL = {
  /** Name and content of the `<meta>` that the server puts into the page; no other server does. */
  meta: { name: 'pinscope-shell', content: 'browser' },
  /** POST with `Authorization: Bearer TOKEN`: a {@link Startup} as JSON, else a sentence with status 401 or 503. */
  startup: '/startup',
  /** WebSocket: the wire format from the server, JSON text of a {@link ToSampler} to it. */
  socket: '/sampler',
  /** The page offers this subprotocol, which is chosen, and one that ends with the token: browsers send no other header. */
  protocol: 'pinscope.1',
  tokenProtocol: 'pinscope.token.',
} as const;
