/** Schema `pinscope.processes/1`: the processes worth attaching to. Field names are fixed as in the snapshot. */
export interface ProcessList {
  readonly schema: 'pinscope.processes/1';
  /** ISO 8601, UTC. */
  readonly takenAt: string;
  readonly processes: readonly ProcessSummary[];
  /** Processes whose files this user may not see: they may hold buffers too. */
  readonly hiddenProcesses: number;
}

/** A QEMU, or another process that holds a udmabuf. */
export interface ProcessSummary {
  readonly pid: number;
  /** Clock ticks since boot, decimal. */
  readonly startTime: string;
  readonly comm: string;
  readonly uid: number | null;
  /** Name of that user in /etc/passwd. */
  readonly user: string | null;
  readonly kind: 'qemu' | 'other';
  /** QEMU's `-name`. */
  readonly name: string | null;
  /** udmabufs that it holds by fd or mapping; `null`: this user may not see. */
  readonly buffers: number | null;
  /** Sum of their sizes; `null`: one of them is unknown. What they pin may be more, see the snapshot. */
  readonly bufferBytes: number | null;
  /** Creation of the oldest, ISO 8601. */
  readonly oldest: string | null;
}
