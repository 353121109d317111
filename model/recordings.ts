/** What is being recorded, and what was: the part of the contract that is about session files. */

export type RecordingState =
  /** `last`: what was recorded before. */
  | {
      readonly state: 'off';
      readonly last: { readonly name: string; readonly bytes: number; readonly samples: number } | null;
    }
  /** It begins with the next sample. */
  | { readonly state: 'waiting' }
  | {
      readonly state: 'on';
      /** Name of the file in the folder of recordings. */
      readonly name: string;
      readonly bytes: number;
      readonly samples: number;
      /** When its first sample was taken, ISO 8601. */
      readonly since: string;
    }
  /** It stopped by itself. What was written until then, if there is a name, can be opened. */
  | {
      readonly state: 'failed';
      readonly name: string | null;
      readonly samples: number;
      /** What happened. */
      readonly detail: string;
    };

export interface SessionListing {
  /** Where they are, to be told to the user. */
  readonly folder: string;
  /** The newest first. */
  readonly sessions: readonly SessionListed[];
}
export interface SessionListed {
  readonly name: string;
  readonly bytes: number;
  /** ISO 8601, UTC. */
  readonly modifiedAt: string;
}

/** So much of a session is read in one call at most. */
export const SESSION_PIECE_BYTES = 4 * 2 ** 20;

/** A name of a file in the folder of recordings: no folder, nothing hidden. */
export const isSessionName = (name: string): boolean => /^[A-Za-z0-9][\w.-]{0,150}\.pinscope$/.test(name);
