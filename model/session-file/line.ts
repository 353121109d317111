/**
 * A line of a session file: `{"crc32":"…","seq":N,"KIND":…}`. The CRC is that of all lines of the frame so far, without the CRC
 * members themselves, so that a line counts only where everything before it is whole. Lines are ASCII.
 */
import type { Snapshot } from '../snapshot.ts';
import { crc32 } from './crc32.ts';
import type { Operation } from './delta.ts';

export const SESSION_SCHEMA = 'pinscope.session/1';

/** First line of every frame, so that the file says what it is also where its beginning is lost. */
export interface SessionHeader {
  readonly schema: typeof SESSION_SCHEMA;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  /** Milliseconds from sample to sample, as it was meant. */
  readonly periodMs: number;
  /** Names, paths and command lines were replaced (redact.ts). */
  readonly redacted: boolean;
  /** A sentence: what is recorded here. */
  readonly title: string | null;
  /** Number of the sample to show first; `null`: the first. */
  readonly openAt: number | null;
}

/** What happened between samples, so that a hole in time has its reason. */
export interface SessionEvent {
  /** ISO 8601, UTC. */
  readonly at: string;
  /**
   * `skipped`: `count` times were left out, because a sample was still being taken. `paused` and `continued`: by the user. `failed`: a sample
   * could not be taken, `detail` says why. `rights`: what could be read changed. `gone`: the process ended.
   */
  readonly kind: 'skipped' | 'paused' | 'continued' | 'failed' | 'rights' | 'gone';
  readonly count: number | null;
  readonly detail: string | null;
}

export type SessionLine =
  | { readonly kind: 'header'; readonly value: SessionHeader }
  | { readonly kind: 'snapshot'; readonly value: Snapshot }
  | { readonly kind: 'delta'; readonly value: readonly Operation[] }
  | { readonly kind: 'event'; readonly value: SessionEvent };

/** JSON without a character above 127: what is a character is a byte, here and in the file. */
const ascii = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[\u0080-\uffff]/g,
    character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

/** Makes the lines of one frame, in order. */
export class LineMaker {
  private crc = 0;

  /** @param seq number of the line in the file */
  make(seq: number, { kind, value }: SessionLine): string {
    const rest = `"seq":${seq},"${kind}":${ascii(value)}}`;
    this.crc = crc32(rest, this.crc);
    return `{"crc32":"${this.crc.toString(16).padStart(8, '0')}",${rest}\n`;
  }
}

const BEGINNING = /^\{"crc32":"([0-9a-f]{8})",("seq":(\d{1,15}),"([A-Za-z]+)":)/;

/** What the lines of a frame's text hold, until the first that is not whole. */
export interface ReadLines {
  readonly lines: readonly { readonly kind: string; readonly json: string }[];
  /** Why it ends before the text does; `null`: it does not. */
  readonly trouble: string | null;
}

/**
 * Checks the lines of a frame.
 * @param text a character a byte
 * @param first number that the first line has
 */
export function readLines(text: string, first: number): ReadLines {
  const lines: { kind: string; json: string }[] = [];
  let crc = 0;
  let at = 0;
  while (at < text.length) {
    const end = text.indexOf('\n', at);
    if (end < 0) return { lines, trouble: 'its last line is not complete' };
    const [beginning, told, seq, number, kind = ''] =
      BEGINNING.exec(text.slice(at, Math.min(end, at + 120))) ?? [];
    if (beginning === undefined || told === undefined || seq === undefined) {
      return { lines, trouble: `its line ${lines.length + 1} is not one of a session` };
    }
    const rest = text.slice(at + beginning.length - seq.length, end);
    crc = crc32(rest, crc);
    if (crc !== Number.parseInt(told, 16) || Number(number) !== first + lines.length) {
      return { lines, trouble: `the checksum of its line ${lines.length + 1} is wrong` };
    }
    lines.push({ kind, json: rest.slice(seq.length, -1) });
    at = end + 1;
  }
  return { lines, trouble: null };
}
