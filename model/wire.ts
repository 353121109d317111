import type { FromSampler, SamplerEvent } from './contract.ts';
import type { RunColumns, Sample, SampledResource } from './run-columns.ts';
import { DISCONNECTED } from './run-columns.ts';

/**
 * The one encoding of what a sampler says, for every carrier (a MessagePort, a WebSocket): one buffer a message.
 *
 * | bytes | what |
 * |---|---|
 * | 0..3 | magic `PSW1` |
 * | 4..7 | length of the JSON in bytes, u32 |
 * | 8..11, 12..15 | two sums over everything behind them and over the lengths, u32 each (`sums`) |
 * | 16.. | the message as JSON, UTF-8, filled up with spaces to 8 bytes; `runs` of a resource is `{length, names}` |
 * | then | its columns, a resource after the other in order, each filled up with zeros to 8 bytes; of an answer that is bytes, these |
 *
 * The columns of a resource stand in the order of `RunColumns`, eight-byte ones first, so that each is aligned and a decoded
 * column is a view of the one buffer. Little-endian, as every machine that Electron runs on: another one refuses the magic.
 * A sample of 10,000 buffers has 110,000 columns: to clone each is most of what sending it costs (`npm run bench -- wire-10000-buffers`).
 *
 * What is not a column must be JSON: an `undefined` property is left out, and is `undefined` again on the other side.
 */
const MAGIC = 0x3157_5350;
const HEADER = 16;
/** Where the columns behind the seven of 8 bytes begin, in bytes a run: one of 4, two of 2, one of 1. */
const [NODE, ZONE, MIGRATETYPE, BACKING, RUN_BYTES] = [56, 60, 62, 64, 65] as const;

/** Bytes that are no message of a sampler. */
export class WireError extends Error {
  override readonly name = 'WireError';
}

const padded = (bytes: number): number => Math.ceil(bytes / 8) * 8;

// Both sides have them, in Node and in the page; the types of this folder name neither.
declare const TextEncoder: new () => { encode(text: string): Uint8Array };
declare const TextDecoder: new (
  label: 'utf-8',
  options: { readonly fatal: true; readonly ignoreBOM: true },
) => { decode(bytes: Uint8Array): string };
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** What stands in the JSON where a resource has its runs. */
interface RunsHead {
  readonly length: number;
  readonly names: readonly string[];
}

/** A message as one buffer. Throws a RangeError for columns that are not of one length. */
export function encodeMessage(message: FromSampler): ArrayBuffer {
  const columns: RunColumns[] = [];
  const piece = message.kind === 'answer' && message.value instanceof Uint8Array ? message.value : null;
  const json = encoder.encode(JSON.stringify(withoutColumns(message, columns)));
  const jsonEnd = HEADER + padded(json.length);
  const behind = padded(piece?.length ?? 0);
  const total = columns.reduce((sum, { length }) => sum + padded(length * RUN_BYTES), jsonEnd + behind);
  const buffer = new ArrayBuffer(total);
  const bytes = new Uint8Array(buffer);
  bytes.set(json, HEADER);
  bytes.fill(0x20, HEADER + json.length, jsonEnd);
  let at = jsonEnd;
  if (piece !== null) bytes.set(piece, jsonEnd);
  const whole = viewsOf(buffer);
  for (const runs of columns) {
    copyColumns(runs, whole, at);
    at += padded(runs.length * RUN_BYTES);
  }
  new Uint32Array(buffer).set([MAGIC, json.length]);
  new Uint32Array(buffer, 8).set(sums(buffer, json.length));
  return buffer;
}

/**
 * The message of a buffer; columns are views of it, so it must not be written to afterwards. Throws a WireError for
 * anything that {@link encodeMessage} does not make: sums, lengths, UTF-8, JSON, the kind of message, and every index of a
 * column are checked. Fields within the JSON are taken as the sender's: both sides come from one build.
 */
export function decodeMessage(buffer: ArrayBuffer): FromSampler {
  if (buffer.byteLength < HEADER || buffer.byteLength % 8 !== 0)
    throw new WireError(`a message of ${buffer.byteLength} bytes has no whole words`);
  const [magic, jsonLength = 0, first, second] = new Uint32Array(buffer, 0, 4);
  if (magic !== MAGIC)
    throw new WireError('a message does not begin as one; the other side is another build');
  const jsonEnd = HEADER + padded(jsonLength);
  if (jsonEnd > buffer.byteLength) throw new WireError('a message is shorter than it says');
  const [wantFirst, wantSecond] = sums(buffer, jsonLength);
  if (first !== wantFirst || second !== wantSecond) throw new WireError('a message was damaged on its way');
  let message: unknown;
  try {
    message = JSON.parse(decoder.decode(new Uint8Array(buffer, HEADER, jsonLength)));
  } catch {
    throw new WireError('a message holds no JSON');
  }
  return withColumns(checked(message), buffer, jsonEnd);
}

/**
 * Sums of all 32-bit words behind the header, and of these sums (Fletcher's): any one changed word changes the first, words that
 * changed places the second.
 */
function sums(buffer: ArrayBuffer, jsonLength: number): [number, number] {
  const words = new Uint32Array(buffer, HEADER);
  let first = jsonLength | 0;
  let second = words.length | 0;
  for (let i = 0; i < words.length; i++) {
    first = (first + (words[i] ?? 0)) | 0;
    second = (second + first) | 0;
  }
  return [first >>> 0, second >>> 0];
}

function withoutColumns(message: FromSampler, columns: RunColumns[]): unknown {
  if (message.kind === 'answer' && message.value instanceof Uint8Array)
    return { kind: 'answer', id: message.id, bytes: message.value.length };
  if (message.kind !== 'event' || message.event.type !== 'sample') return message;
  const { event } = message;
  const resources = event.sample.resources.map(resource => {
    const { pages } = resource;
    if (pages === null) return resource;
    const { length, names } = pages.runs;
    columns.push(pages.runs);
    return { ...resource, pages: { ...pages, runs: { length, names } satisfies RunsHead } };
  });
  return { ...message, event: { ...event, sample: { ...event.sample, resources } } };
}

function withColumns(message: Checked, buffer: ArrayBuffer, start: number): FromSampler {
  if ('bytes' in message) {
    const { kind, id, bytes } = message;
    if (start + padded(bytes) !== buffer.byteLength)
      throw new WireError('an answer has not the bytes that it says');
    return { kind, id, value: new Uint8Array(buffer, start, bytes) };
  }
  if (message.kind !== 'event' || message.event.type !== 'sample') {
    if (start !== buffer.byteLength) throw new WireError('a message without pages has columns');
    return message;
  }
  const { event } = message;
  const whole = viewsOf(buffer);
  let at = start;
  const resources = event.sample.resources.map((resource): SampledResource => {
    const { pages } = resource;
    if (pages === null) return resource;
    const head: RunsHead = pages.runs;
    const end = at + padded(head.length * RUN_BYTES);
    if (!(end <= buffer.byteLength)) throw new WireError('a message has fewer columns than it says');
    checkIndices(whole, at, head);
    const runs = new PackedRuns(buffer, at, head);
    at = end;
    return { ...resource, pages: { ...pages, runs } };
  });
  if (at !== buffer.byteLength) throw new WireError('a message has more columns than it says');
  return { ...message, event: { ...event, sample: { ...event.sample, resources } } };
}

/**
 * Columns of one resource in a message's buffer, at a multiple of 8. A view is made when it is first asked for: in a page it costs a
 * microsecond, there are eleven a resource, and few of them are looked at. So it must not be spread.
 */
class PackedRuns implements RunColumns {
  readonly length: number;
  readonly names: readonly string[];
  readonly #buffer: ArrayBuffer;
  readonly #at: number;
  readonly #wide: Float64Array[] = [];
  #node: Int32Array | undefined;
  #zone: Int16Array | undefined;
  #migratetype: Int16Array | undefined;
  #backing: Uint8Array | undefined;

  constructor(buffer: ArrayBuffer, at: number, { length, names }: RunsHead) {
    this.length = length;
    this.names = names;
    this.#buffer = buffer;
    this.#at = at;
  }

  get index(): Float64Array {
    return this.#nth(0);
  }
  get pfn(): Float64Array {
    return this.#nth(1);
  }
  get count(): Float64Array {
    return this.#nth(2);
  }
  get folioBytes(): Float64Array {
    return this.#nth(3);
  }
  get gpa(): Float64Array {
    return this.#nth(4);
  }
  get ramInode(): Float64Array {
    return this.#nth(5);
  }
  get ramOffset(): Float64Array {
    return this.#nth(6);
  }
  get node(): Int32Array {
    this.#node ??= new Int32Array(this.#buffer, this.#at + NODE * this.length, this.length);
    return this.#node;
  }
  get zone(): Int16Array {
    this.#zone ??= new Int16Array(this.#buffer, this.#at + ZONE * this.length, this.length);
    return this.#zone;
  }
  get migratetype(): Int16Array {
    this.#migratetype ??= new Int16Array(this.#buffer, this.#at + MIGRATETYPE * this.length, this.length);
    return this.#migratetype;
  }
  get backing(): Uint8Array {
    this.#backing ??= new Uint8Array(this.#buffer, this.#at + BACKING * this.length, this.length);
    return this.#backing;
  }

  #nth(nth: number): Float64Array {
    this.#wide[nth] ??= new Float64Array(this.#buffer, this.#at + 8 * nth * this.length, this.length);
    return this.#wide[nth];
  }
}

/** The whole buffer as what columns are: cheaper than a view a column. */
interface Views {
  readonly wide: Float64Array;
  readonly word: Int32Array;
  readonly half: Int16Array;
  readonly byte: Uint8Array;
}
const viewsOf = (buffer: ArrayBuffer): Views => ({
  wide: new Float64Array(buffer),
  word: new Int32Array(buffer),
  half: new Int16Array(buffer),
  byte: new Uint8Array(buffer),
});

function copyColumns(runs: RunColumns, { wide, word, half, byte }: Views, at: number): void {
  const { length, index, pfn, count, folioBytes, gpa, ramInode, ramOffset } = runs;
  const check = (column: { readonly length: number }): void => {
    if (column.length !== length) throw new RangeError(`a column has ${column.length} of ${length} runs`);
  };
  let next = at / 8;
  for (const column of [index, pfn, count, folioBytes, gpa, ramInode, ramOffset]) {
    check(column);
    wide.set(column, next);
    next += length;
  }
  for (const column of [runs.node, runs.zone, runs.migratetype, runs.backing]) check(column);
  word.set(runs.node, (at + NODE * length) / 4);
  half.set(runs.zone, (at + ZONE * length) / 2);
  half.set(runs.migratetype, (at + MIGRATETYPE * length) / 2);
  byte.set(runs.backing, at + BACKING * length);
}

function checkIndices(
  { half, byte }: Views,
  at: number,
  { length, names: { length: names } }: RunsHead,
): void {
  const backing = at + BACKING * length;
  // Zone and migratetype stand one behind the other.
  const zone = (at + ZONE * length) / 2;
  let fine = true;
  for (let i = zone; i < zone + 2 * length; i++) {
    const name = half[i] ?? names;
    fine &&= name >= -1 && name < names;
  }
  for (let i = backing; i < backing + length; i++) fine &&= (byte[i] ?? 255) <= DISCONNECTED;
  if (!fine) throw new WireError('a run names what the message does not have');
}

type Fields = Readonly<Record<string, unknown>>;
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const EVENTS: Readonly<Record<SamplerEvent['type'], true>> = {
  hello: true,
  processes: true,
  sample: true,
  progress: true,
  failed: true,
  privilege: true,
  recording: true,
};

/** An answer whose bytes stand behind the JSON. */
interface BytesHead {
  readonly kind: 'answer';
  readonly id: number;
  readonly bytes: number;
}
type Checked = FromSampler | BytesHead;

/** A message as far as whoever takes it apart must rely on it. */
function checked(message: unknown): Checked {
  if (isFields(message)) {
    const { kind, id, event, bytes } = message;
    if (
      kind === 'answer' &&
      Number.isSafeInteger(id) &&
      Number.isSafeInteger(bytes) &&
      (bytes as number) >= 0
    )
      return { kind, id: id as number, bytes: bytes as number };
    if (kind === 'answer' && Number.isSafeInteger(id))
      return { kind, id: id as number, value: message.value };
    if (kind === 'error' && Number.isSafeInteger(id) && typeof message.message === 'string')
      return message as FromSampler;
    if (kind === 'event' && isFields(event) && Object.hasOwn(EVENTS, String(event.type))) {
      if (event.type === 'sample') checkSample(event.sample);
      return message as FromSampler;
    }
  }
  throw new WireError('a message is none of the contract');
}

function checkSample(sample: unknown): asserts sample is Sample {
  const resources: unknown = isFields(sample) ? sample.resources : null;
  const isHead = (runs: unknown): boolean =>
    isFields(runs) &&
    Number.isSafeInteger(runs.length) &&
    (runs.length as number) >= 0 &&
    Array.isArray(runs.names) &&
    runs.names.every(name => typeof name === 'string');
  const isResource = (resource: unknown): boolean =>
    isFields(resource) &&
    (resource.pages === null || (isFields(resource.pages) && isHead(resource.pages.runs)));
  if (!Array.isArray(resources) || !resources.every(isResource))
    throw new WireError('a sample is none of the contract');
}
