import { ParseError } from '../parse-error.ts';
import { JsonReader } from './json.ts';

/** A message from a QMP server. */
export type QmpMessage =
  | { readonly type: 'greeting'; readonly version: QmpVersion; readonly capabilities: readonly string[] }
  | { readonly type: 'return'; readonly id: QmpId; readonly value: unknown }
  | { readonly type: 'error'; readonly id: QmpId; readonly class: string; readonly description: string }
  | { readonly type: 'event'; readonly name: string; readonly data: unknown };

/** The id that a command was sent with; null: the server could not read the command. */
export type QmpId = string | number | null;

export interface QmpVersion {
  readonly major: number;
  readonly minor: number;
  readonly micro: number;
  /** E.g. `Debian 1:7.2+dfsg-7+deb12u18`; may be empty. */
  readonly package: string;
}

/** A reply longer than this is no QEMU's: `info mtree -f` of a guest with hundreds of devices is below 1 MiB. */
export const MAX_QMP_BYTES = 16 * 2 ** 20;

/**
 * Cuts a QMP stream into messages: feed it whatever arrived, in pieces of any size.
 *
 * Rests on docs/interop/qmp-spec (7.2 to 10.x). A message is one JSON object; -qmp puts each on a line, -qmp-pretty
 * spreads it over many, so objects are found by their brackets and not by lines. Whole numbers past 2^53 become
 * decimal strings.
 */
export class QmpDecoder {
  /** The message that is not complete yet, in pieces. */
  #parts: string[] = [];
  #length = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;
  #failure: ParseError | null = null;
  readonly #maxBytes: number;

  constructor(maxBytes: number = MAX_QMP_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Calls `emit` for every message that is complete now, also for those before the place that is wrong.
   * @throws ParseError for anything that is not QMP and for a message beyond the limit; then and ever after.
   */
  push(chunk: Uint8Array | string, emit: (message: QmpMessage) => void): void {
    if (this.#failure) throw this.#failure;
    try {
      this.#push(typeof chunk === 'string' ? chunk : latin1(chunk), emit);
    } catch (error) {
      if (error instanceof ParseError) {
        this.#failure = error;
        this.#parts = [];
      }
      throw error;
    }
  }

  #push(text: string, emit: (message: QmpMessage) => void): void {
    let start = 0;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      // "sends its output encoded in ASCII": anything above is written \uXXXX.
      if (code > 0x7e) throw new ParseError('QMP', 'ASCII', text.slice(i, i + 200), 0);
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (code === 0x5c) this.#escaped = true;
        else if (code === 0x22) this.#inString = false;
      } else if (this.#depth === 0) {
        if (code === 0x7b) {
          this.#depth = 1;
          start = i;
        } else if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) {
          throw new ParseError('QMP', 'a JSON object', text.slice(i, i + 200), 0);
        }
      } else if (code === 0x22) this.#inString = true;
      // JSON.parse checks that brackets match; the depth is MAX_NESTING of qobject/json-streamer.c.
      else if (code === 0x7b || code === 0x5b) {
        this.#depth++;
        if (this.#depth > 1024) throw new ParseError('QMP', 'at most 1024 levels of JSON', '', 0);
      } else if (code === 0x7d || code === 0x5d) {
        this.#depth--;
        if (this.#depth === 0) {
          this.#keep(text.slice(start, i + 1));
          const message = messageOf(this.#parts.join(''));
          this.#parts = [];
          this.#length = 0;
          start = i + 1;
          emit(message);
        }
      }
    }
    if (this.#depth > 0) this.#keep(text.slice(start));
  }

  #keep(part: string): void {
    this.#parts.push(part);
    this.#length += part.length;
    if (this.#length > this.#maxBytes) {
      const begin = (this.#parts[0] ?? '').slice(0, 200);
      throw new ParseError('QMP', `a message of at most ${this.#maxBytes} bytes`, begin, 0);
    }
  }
}

/** One char a byte. */
function latin1(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return text;
}

function messageOf(text: string): QmpMessage {
  const fail = (): ParseError => new ParseError('QMP', 'a greeting, a return, an error or an event', text, 0);
  let json: unknown;
  try {
    json = JSON.parse(keepWholeNumbers(text));
  } catch {
    throw new ParseError('QMP', 'valid JSON', text, 0);
  }
  const reader = new JsonReader('QMP', json);
  const has = (key: string): boolean => typeof json === 'object' && json !== null && Object.hasOwn(json, key);
  if (has('QMP')) {
    const version = reader.get('QMP').get('version');
    const qemu = version.get('qemu');
    return {
      type: 'greeting',
      version: {
        major: qemu.get('major').size(),
        minor: qemu.get('minor').size(),
        micro: qemu.get('micro').size(),
        package: version.get('package').optional(value => value.string()) ?? '',
      },
      capabilities: reader
        .get('QMP')
        .get('capabilities')
        .items()
        .map(item => item.string()),
    };
  }
  if (has('event')) {
    return { type: 'event', name: reader.get('event').string(), data: reader.get('data').value ?? null };
  }
  const idValue = reader.get('id').value ?? null;
  if (idValue !== null && typeof idValue !== 'string' && typeof idValue !== 'number') throw fail();
  if (has('return')) return { type: 'return', id: idValue, value: reader.get('return').value };
  if (has('error')) {
    const error = reader.get('error');
    return {
      type: 'error',
      id: idValue,
      class: error.get('class').string(),
      description: error.get('desc').string(),
    };
  }
  throw fail();
}

/** Puts whole numbers that JSON.parse would round in quotes; refuses others that it would make infinite. */
function keepWholeNumbers(text: string): string {
  if (!/\d{16}|\d[eE]/.test(text)) return text;
  return text.replace(/"(?:[^"\\]|\\[\s\S])*"|-?\d[\d.eE+-]*/g, token => {
    if (token.startsWith('"')) return token;
    const value = Number(token);
    if (!Number.isFinite(value)) throw new ParseError('QMP', 'a finite number', token, 0);
    return /^-?\d+$/.test(token) && !Number.isSafeInteger(value) ? `"${token}"` : token;
  });
}
