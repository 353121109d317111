/**
 * What QEMU's trace tells of the resources of a virtio-gpu, where its backend is `log` (Debian's build). Lines of hw/display/trace-events,
 * alone or after `TID@SECONDS.MICROSECONDS:` (`-msg timestamp=on`, scripts/tracetool/backend/log.py).
 */

/** Trace events that matter here: those that say what there is, none of a frame. */
export const TRACE_EVENTS = [
  'virtio_gpu_features',
  'virtio_gpu_cmd_res_create_2d',
  'virtio_gpu_cmd_res_create_3d',
  'virtio_gpu_cmd_res_create_blob',
  'virtio_gpu_cmd_res_unref',
  'virtio_gpu_cmd_res_back_attach',
  'virtio_gpu_cmd_res_back_detach',
  'virtio_gpu_cmd_set_scanout',
  'virtio_gpu_cmd_set_scanout_blob',
] as const;
export type TraceEvent = (typeof TRACE_EVENTS)[number];

/** A line of the trace. Numbers are as the guest sent them. */
export interface TraceLine {
  readonly event: TraceEvent;
  /** Resource; 0 in a line without one, and where a scanout is switched off. */
  readonly resourceId: number;
  /** Only of create_blob; null where it is more than any buffer has. */
  readonly sizeBytes: number | null;
  /** Only of set_scanout and set_scanout_blob. */
  readonly scanout: { readonly id: number; readonly width: number; readonly height: number } | null;
  /** ms since 1970; null: lines have no time. */
  readonly atMs: number | null;
}

const EVENT =
  /(?:^|[^\w])(virtio_gpu_(?:features|cmd_(?:res_(?:create_(?:2d|3d|blob)|unref|back_(?:attach|detach))|set_scanout(?:_blob)?))) /;
const TIME = /(?:^|[^\d])(\d+)@(\d{1,12})\.(\d{6}):$/;
const SHAPES: Readonly<Record<string, RegExp>> = {
  features: /^virgl [01]$/,
  create_2d: /^res 0x([0-9a-f]{1,8}), fmt 0x[0-9a-f]+, w -?\d+, h -?\d+$/,
  create_3d: /^res 0x([0-9a-f]{1,8}), fmt 0x[0-9a-f]+, w -?\d+, h -?\d+, d -?\d+$/,
  create_blob: /^res 0x([0-9a-f]{1,8}), size (-?\d{1,19})$/,
  unref: /^res 0x([0-9a-f]{1,8})$/,
  back_attach: /^res 0x([0-9a-f]{1,8})$/,
  back_detach: /^res 0x([0-9a-f]{1,8})$/,
  set_scanout:
    /^id (-?\d{1,10}), res 0x([0-9a-f]{1,8}), w (-?\d{1,10}), h (-?\d{1,10}), x -?\d{1,10}, y -?\d{1,10}$/,
};
const uint32 = (text: string | undefined): number => Number(text) >>> 0;

/**
 * One line of a log. `null`: it is of no such event. `damaged`: it is, and cannot be read, so something happened that is not known
 * (another program's output in the midst of it).
 */
export function parseTraceLine(line: string): TraceLine | 'damaged' | null {
  const found = EVENT.exec(line);
  if (found === null) return null;
  const event = found[1] as TraceEvent;
  const start = found.index + found[0].length - event.length - 1;
  const shape = SHAPES[event.replace(/^virtio_gpu_(cmd_(res_)?)?/, '').replace('scanout_blob', 'scanout')];
  const values = shape?.exec(line.slice(start + event.length + 1).replace(/\r$/, ''));
  if (!values) return 'damaged';
  const time = TIME.exec(line.slice(0, start));
  const atMs = time ? Number(time[2]) * 1000 + Number(time[3]) / 1000 : null;
  if (event.startsWith('virtio_gpu_cmd_set_scanout')) {
    const [, id, resource, width, height] = values;
    return {
      event,
      atMs,
      resourceId: Number.parseInt(resource ?? '', 16),
      sizeBytes: null,
      scanout: { id: uint32(id), width: uint32(width), height: uint32(height) },
    };
  }
  const size = Number(values[2]);
  return {
    event,
    atMs,
    resourceId: values[1] === undefined ? 0 : Number.parseInt(values[1], 16),
    sizeBytes: Number.isSafeInteger(size) && size > 0 ? size : null,
    scanout: null,
  };
}

/** QEMU's message that a buffer was refused; it follows the trace line of its command, as the same thread prints both. */
const REFUSED = /virtio_gpu_create_udmabuf: /;

/** Where a resource is shown: on no scanout (`null`), or nobody knows. */
export type Shown = number | null | 'unknown';

/** A blob that may have a dma-buf: made, and not gone by any line. One of a single piece of guest memory has none. */
export interface TracedBuffer {
  readonly resourceId: number;
  readonly sizeBytes: number | null;
  /** When its command began, ms since 1970; null: lines have no time. */
  readonly atMs: number | null;
  /** Time of the next line: its dma-buf was made before. */
  readonly beforeMs: number | null;
  readonly scanout: Shown;
}

export interface GpuTrace {
  /** Every blob that may live is in `buffers`: the trace began before the first. */
  readonly whole: boolean;
  /** Every blob made since then is in `buffers`, ms since 1970; null: lines have no time. */
  readonly sinceMs: number | null;
  /** In the order in which they were made. */
  readonly buffers: readonly TracedBuffer[];
  /** Events of which there were lines. */
  readonly seen: ReadonlySet<TraceEvent>;
}

export interface TraceStart {
  /** The text begins with the program, and what it printed first was traced. */
  readonly fromStart: boolean;
  /** `max_outputs` of the device: a command for another scanout is refused. */
  readonly maxOutputs: number;
}

/** A guest that makes more is not followed: it makes them without end, or nobody traces how they go. */
const MOST_BUFFERS = 16384;
/** Longest line that is kept until its end comes. */
const MOST_CHARACTERS = 4096;
const BYTES_PER_PIXEL = 4;

interface Draft {
  readonly resourceId: number;
  readonly sizeBytes: number | null;
  readonly atMs: number | null;
  beforeMs: number | null;
  /** It went; `held`: while {@link GpuTraceReader.hold} was in force, so that it is listed all the same. */
  gone: false | 'held' | 'gone';
}

/**
 * Follows the trace of one virtio-gpu, piece by piece. It rests on hw/display/virtio-gpu.c, alike from 7.2 to 10: each line is printed
 * before its command is checked, so
 * - a blob that was traced may not exist, and `buffers` holds every one that may. Only what surely takes a dma-buf away takes it out:
 *   RESOURCE_UNREF, DETACH_BACKING, a refusal in the same text, and `virtio_gpu_features`. That is printed by a reset, which destroys
 *   all resources (virtio_reset(); seen on 7.2), and by a driver that chooses features, which it can only after one.
 * - Where `virtio_gpu_features` is not traced, a reset shows when an id is made that is in use: what was before stays listed, and
 *   scanouts that were set before are no longer known.
 * - libvirt keeps one log a guest; each run begins with a line of its qemuLogOperation().
 * - SET_SCANOUT is taken to have worked, unless the trace shows that QEMU must have refused it: then what is shown is not known.
 */
export class GpuTraceReader {
  readonly #maxOutputs: number;
  readonly #fromStart: boolean;
  #whole: boolean;
  #sinceMs: number | null = null;
  /** Nothing was traced since `#whole` was decided. */
  #fresh = true;
  /** In order; with those that are gone, until there are many. */
  #buffers: Draft[] = [];
  #goneCount = 0;
  /** Those that are not gone, by id: several where an id was made twice. */
  #living = new Map<number, Draft[]>();
  /** The buffer of the last line, as long as that is the last. */
  #newest: Draft | null = null;
  /** Sizes of all blobs that were made and not unreferenced, also of those without a dma-buf. */
  #blobs = new Map<number, number | null>();
  /** Ids of resources that are no blobs. */
  #others = new Set<number>();
  /** Scanout → resource, 0: none. */
  #shown = new Map<number, number | 'unknown'>();
  readonly #seen = new Set<TraceEvent>();
  #rest = '';
  #holds = false;

  constructor({ fromStart, maxOutputs }: TraceStart) {
    this.#fromStart = fromStart;
    this.#whole = fromStart;
    this.#maxOutputs = maxOutputs;
  }

  /** More of the text; may end within a line. */
  feed(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    if (this.#rest.length > MOST_CHARACTERS) this.#rest = this.#rest.slice(-MOST_CHARACTERS);
    for (const line of lines) this.#line(line);
  }

  /**
   * From now on, until {@link release}, what goes stays listed. Whoever lists dma-bufs meanwhile may have seen it, and everything that
   * he saw then is in `buffers`.
   */
  hold(): void {
    this.#holds = true;
  }

  release(): void {
    this.#holds = false;
    this.#sweep(true);
  }

  /** There was a line of the trace. */
  get hasSeen(): boolean {
    return this.#seen.size > 0;
  }

  state(): GpuTrace {
    return {
      whole: this.#whole,
      sinceMs: this.#sinceMs,
      seen: new Set(this.#seen),
      buffers: this.#buffers
        .filter(({ gone }) => gone !== 'gone')
        .map(({ gone, ...buffer }) => ({
          ...buffer,
          scanout: gone ? 'unknown' : this.#scanoutOf(buffer.resourceId),
        })),
    };
  }

  #line(line: string): void {
    // Most lines are none of ours.
    if (!line.includes('virtio_gpu_')) {
      if (line.includes(': starting up libvirt version')) this.#restart(this.#fromStart);
      return;
    }
    if (REFUSED.test(line)) {
      // It had no dma-buf at any time.
      if (this.#newest !== null) this.#forget(this.#newest);
      this.#newest = null;
      return;
    }
    const traced = parseTraceLine(line);
    if (traced === null) return;
    if (traced === 'damaged') this.#restart(false);
    else this.#traced(traced);
  }

  #traced(line: TraceLine): void {
    const { event, resourceId, atMs } = line;
    this.#seen.add(event);
    if (this.#newest !== null) this.#newest.beforeMs = atMs;
    this.#newest = null;
    if (event === 'virtio_gpu_features') this.#restart(true);
    if (this.#fresh) this.#sinceMs = atMs;
    this.#fresh = false;
    switch (event) {
      case 'virtio_gpu_cmd_res_create_blob':
        this.#claim(resourceId);
        this.#blobs.set(resourceId, line.sizeBytes);
        this.#add({ resourceId, sizeBytes: line.sizeBytes, atMs, beforeMs: null, gone: false });
        break;
      case 'virtio_gpu_cmd_res_create_2d':
      case 'virtio_gpu_cmd_res_create_3d':
        this.#claim(resourceId);
        this.#others.add(resourceId);
        break;
      case 'virtio_gpu_cmd_res_unref':
        this.#drop(resourceId);
        this.#blobs.delete(resourceId);
        this.#others.delete(resourceId);
        for (const [scanout, shown] of this.#shown) if (shown === resourceId) this.#shown.set(scanout, 0);
        break;
      case 'virtio_gpu_cmd_res_back_detach':
        this.#drop(resourceId);
        break;
      case 'virtio_gpu_cmd_res_back_attach': {
        // From QEMU 10 on this makes a dma-buf of a blob that has none.
        const known = this.#of(resourceId) !== undefined;
        const sizeBytes = this.#blobs.get(resourceId);
        if (!known && sizeBytes !== undefined)
          this.#add({ resourceId, sizeBytes, atMs, beforeMs: null, gone: false });
        // It may be a blob of before.
        else if (!known && !this.#whole && !this.#others.has(resourceId)) this.#restart(false);
        break;
      }
      case 'virtio_gpu_cmd_set_scanout':
      case 'virtio_gpu_cmd_set_scanout_blob':
        this.#setScanout(line);
        break;
    }
  }

  #setScanout({ event, resourceId, scanout }: TraceLine): void {
    if (scanout === null || scanout.id >= this.#maxOutputs) return;
    const { id, width, height } = scanout;
    const blob = event === 'virtio_gpu_cmd_set_scanout_blob';
    const buffer = this.#of(resourceId);
    // virtio_gpu_do_set_scanout(), virtio_gpu_find_check_resource(): at least 16 x 16 of a resource that has memory.
    const works =
      width >= 16 &&
      height >= 16 &&
      (buffer !== undefined ||
        this.#others.has(resourceId) ||
        (!this.#whole && !this.#blobs.has(resourceId))) &&
      !(blob && buffer?.sizeBytes != null && width * height * BYTES_PER_PIXEL > buffer.sizeBytes);
    this.#shown.set(id, resourceId === 0 ? 0 : works ? resourceId : 'unknown');
  }

  /** An id is made anew: where it is in use, QEMU refuses it, or there was a reset. */
  #claim(resourceId: number): void {
    if (!this.#blobs.has(resourceId) && !this.#others.has(resourceId)) return;
    for (const [scanout, shown] of this.#shown) if (shown !== 0) this.#shown.set(scanout, 'unknown');
  }

  #add(buffer: Draft): void {
    if (this.#buffers.length - this.#goneCount >= MOST_BUFFERS) this.#restart(false);
    this.#buffers.push(buffer);
    this.#living.set(buffer.resourceId, [...(this.#living.get(buffer.resourceId) ?? []), buffer]);
    this.#newest = buffer;
  }

  #of(resourceId: number): Draft | undefined {
    return this.#living.get(resourceId)?.at(-1);
  }

  #drop(resourceId: number): void {
    for (const buffer of this.#living.get(resourceId) ?? []) {
      buffer.gone = this.#holds ? 'held' : 'gone';
      this.#goneCount++;
    }
    this.#living.delete(resourceId);
    if (this.#goneCount > MOST_BUFFERS) this.#sweep(false);
  }

  /** It was refused: listed by nobody, at no time. */
  #forget(buffer: Draft): void {
    const others = this.#living.get(buffer.resourceId)?.filter(each => each !== buffer) ?? [];
    if (others.length > 0) this.#living.set(buffer.resourceId, others);
    else this.#living.delete(buffer.resourceId);
    buffer.gone = 'gone';
    this.#goneCount++;
  }

  /** @param all those too that are listed still */
  #sweep(all: boolean): void {
    this.#buffers = this.#buffers.filter(({ gone }) => !gone || (gone === 'held' && !all));
    this.#goneCount = this.#buffers.filter(({ gone }) => gone).length;
    // So much goes while a sample is taken that it is not told.
    if (this.#goneCount > MOST_BUFFERS) this.#restart(false);
  }

  /** @param whole nothing lives now; else what lives is not known */
  #restart(whole: boolean): void {
    this.#whole = whole;
    this.#sinceMs = null;
    this.#fresh = true;
    if (whole) for (const id of [...this.#living.keys()]) this.#drop(id);
    else {
      this.#buffers = [];
      this.#goneCount = 0;
      this.#living.clear();
    }
    this.#newest = null;
    this.#blobs.clear();
    this.#others.clear();
    this.#shown.clear();
  }

  #scanoutOf(resourceId: number): Shown {
    let unknown = false;
    for (let scanout = 0; scanout < this.#maxOutputs; scanout++) {
      const shown = this.#shown.get(scanout) ?? (this.#whole ? 0 : 'unknown');
      if (shown === resourceId) return scanout;
      unknown ||= shown === 'unknown';
    }
    return unknown ? 'unknown' : null;
  }
}

/**
 * Whether patterns of `-trace` switch an event on: `*` and `?` as in a shell, `-` before one switches off, the last one counts
 * (trace_enable_events() of trace/control.c).
 */
export function isTraced(event: TraceEvent, patterns: readonly string[]): boolean {
  let on = false;
  for (const pattern of patterns) {
    const off = pattern.startsWith('-');
    if (fitsGlob(event, off ? pattern.slice(1) : pattern)) on = !off;
  }
  return on;
}

/** As g_pattern_match_simple(). A pattern is another program's words: no regular expression is made of it, which could take for ever. */
function fitsGlob(text: string, glob: string): boolean {
  let [at, place] = [0, 0];
  let [star, from] = [-1, 0];
  while (at < text.length) {
    if (glob[place] === '*') [star, from] = [place++, at];
    else if (place < glob.length && (glob[place] === '?' || glob[place] === text[at])) {
      at++;
      place++;
    } else if (star >= 0) {
      // The last star takes one more.
      place = star + 1;
      at = ++from;
    } else return false;
  }
  return /^\**$/.test(glob.slice(place));
}

/** Name → whether it is on, of QMP `trace-event-get-state` (trace/qmp.c); null: another answer. */
export function parseTraceStates(answer: unknown): ReadonlyMap<string, boolean> | null {
  if (!Array.isArray(answer)) return null;
  const states = new Map<string, boolean>();
  for (const row of answer as unknown[]) {
    if (typeof row !== 'object' || row === null || !('name' in row) || !('state' in row)) return null;
    if (typeof row.name !== 'string' || typeof row.state !== 'string') return null;
    states.set(row.name, row.state === 'enabled');
  }
  return states;
}
