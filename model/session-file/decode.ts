import { fromSnapshot, type Sample } from '../run-columns.ts';
import { isSnapshot } from './check.ts';
import { applied, type Operation } from './delta.ts';
import type { FoundFrame } from './frame.ts';
import { readLines, SESSION_SCHEMA, type SessionEvent, type SessionHeader } from './line.ts';

/** A file that is no session, or one that this program does not understand: the message is for the user. */
export class SessionFileError extends Error {}

/** What a frame's deflate stream gives, a character a byte, as far as it goes. */
export interface Inflated {
  readonly text: string;
  /** The stream has its end. One that has not, and no trouble, is being written, or its writer was killed. */
  readonly ended: boolean;
  /** Why it stops before the bytes do. */
  readonly trouble: string | null;
}
/** Inflates one gzip member, which may be cut, damaged, or followed by other bytes. Never rejects for what is in the bytes. */
export type Inflate = (member: Uint8Array) => Promise<Inflated>;

export interface FrameEvent extends SessionEvent {
  /** It came before the sample of this number. */
  readonly before: number;
}

export interface DecodedFrame {
  readonly header: SessionHeader | null;
  readonly samples: readonly Sample[];
  readonly events: readonly FrameEvent[];
  /** Lines of kinds that this program does not know. */
  readonly unknownLines: number;
  /** Its gzip member has an end. */
  readonly ended: boolean;
  /** Why there may be samples that are not in `samples`. */
  readonly trouble: string | null;
}

/**
 * The samples of a frame, until the first line that is not whole.
 * @throws SessionFileError for a frame of a newer schema
 */
export async function decodeFrame(
  bytes: Uint8Array,
  frame: FoundFrame,
  inflate: Inflate,
): Promise<DecodedFrame> {
  const { text, ended, trouble: cut } = await inflate(bytes.subarray(frame.offset, frame.end));
  const { lines, trouble: damaged } = readLines(text, frame.line);
  const samples: Sample[] = [];
  const events: FrameEvent[] = [];
  let header: SessionHeader | null = null;
  let unknownLines = 0;
  try {
    for (const { kind, json } of lines) {
      if (header === null) {
        header = readHeader(kind, json);
      } else if (kind === 'snapshot') {
        const snapshot: unknown = JSON.parse(json);
        if (!isSnapshot(snapshot)) throw new SyntaxError('no snapshot');
        samples.push(fromSnapshot(snapshot));
      } else if (kind === 'delta') {
        const last = samples.at(-1);
        if (last === undefined) throw new SyntaxError('a change without a snapshot before it');
        samples.push(checked(applied(last, JSON.parse(json) as Operation[])));
      } else if (kind === 'event') {
        events.push({ ...(JSON.parse(json) as SessionEvent), before: frame.sample + samples.length });
      } else {
        unknownLines++;
      }
    }
  } catch (error) {
    if (error instanceof SessionFileError) throw error;
    // Its checksum is right: another program wrote it.
    const trouble = `its line ${samples.length + events.length + unknownLines + 2} is not what its kind says: ${messageOf(error)}`;
    return { header, samples, events, unknownLines, ended, trouble };
  }
  return { header, samples, events, unknownLines, ended, trouble: damaged ?? cut };
}

function readHeader(kind: string, json: string): SessionHeader {
  const value: unknown = JSON.parse(json);
  const schema = typeof value === 'object' && value !== null && 'schema' in value ? value.schema : null;
  if (kind === 'header' && typeof schema === 'string' && schema !== SESSION_SCHEMA) {
    if (/^pinscope\.session\/\d+$/.test(schema)) {
      throw new SessionFileError(
        `A newer Pinscope wrote this session (${schema}); this one reads ${SESSION_SCHEMA}. Open it with that one.`,
      );
    }
  }
  if (kind !== 'header' || schema !== SESSION_SCHEMA) throw new SyntaxError('a frame begins with a header');
  const header = value as SessionHeader;
  return {
    schema: SESSION_SCHEMA,
    createdAt: String(header.createdAt),
    periodMs: Number(header.periodMs) > 0 ? Number(header.periodMs) : 1000,
    redacted: header.redacted === true,
    title: typeof header.title === 'string' ? header.title : null,
    openAt: Number.isSafeInteger(header.openAt) ? header.openAt : null,
  };
}

/** A change may be of any form: its result must be a snapshot again where it is read by form. */
function checked(sample: Sample): Sample {
  if (!isSnapshot(sample)) throw new SyntaxError('no snapshot after a change');
  return sample;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
