import { ParseError } from '../parse-error.ts';
import { cString, latin1, u32, wordsOf } from './bytes.ts';

/*
 * BTF, the type description that the kernel carries at /sys/kernel/btf/vmlinux
 * (Documentation/bpf/btf.rst, include/uapi/linux/btf.h). About 5 MB and 150,000 types, of which we need a dozen: one pass
 * notes where each type starts and which have a wanted name, the rest is decoded on demand.
 */

const KIND = {
  int: 1,
  ptr: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  fwd: 7,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  func: 12,
  funcProto: 13,
  var: 14,
  datasec: 15,
  float: 16,
  declTag: 17,
  typeTag: 18,
  enum64: 19,
} as const;

/** Words behind the 3 of `struct btf_type`, indexed by kind: once, and for each of its `vlen` elements. */
const EXTRA_ONCE = Uint8Array.of(0, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0);
const EXTRA_EACH = Uint8Array.of(0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3);

/** More anonymous structs and unions than any type of the kernel holds. */
const MAX_NESTED = 500;

export interface Member {
  /** Bytes from the start of the outermost type. */
  readonly offset: number;
  /** Bytes; 0 for a flexible array, and for what BTF gives no size. */
  readonly size: number;
}

/** The wanted types of one BTF image. */
export class Btf {
  private constructor(
    private readonly types: Uint8Array,
    private readonly strings: Uint8Array,
    /** Type id → offset in `types`; id 0 is void. */
    private readonly starts: Uint32Array,
    private readonly named: ReadonlyMap<string, number>,
  ) {}

  /**
   * @param data the whole file
   * @param wanted names of structs, unions and enums that will be asked for
   * @throws ParseError where it is no BTF, is of another byte order or version, or ends early
   */
  static parse(data: Uint8Array, wanted: readonly string[]): Btf {
    const fail = (expected: string, found: string) => new ParseError('BTF', expected, found, 0);
    if (data.length < 24) throw fail('a header of 24 bytes', `${data.length} bytes`);
    const magic = (data[0] ?? 0) | ((data[1] ?? 0) << 8);
    if (magic !== 0xeb9f) throw fail('magic 0xeb9f', `0x${magic.toString(16)}`);
    if (data[2] !== 1) throw fail('version 1', `version ${data[2]}`);
    const header = u32(data, 4);
    const [typeOff, typeLen, strOff, strLen] = [u32(data, 8), u32(data, 12), u32(data, 16), u32(data, 20)];
    if (header + typeOff + typeLen > data.length || header + strOff + strLen > data.length) {
      throw fail('type and string sections inside the file', `${data.length} bytes`);
    }
    const types = data.subarray(header + typeOff, header + typeOff + typeLen);
    const strings = data.subarray(header + strOff, header + strOff + strLen);

    // By first character: of 12,000 structs, unions and enums few begin like a wanted one.
    const byFirst = new Map<number, Uint8Array[]>();
    for (const name of wanted) {
      const bytes = Uint8Array.from(`${name}\0`, c => c.charCodeAt(0));
      const first = bytes[0] ?? 0;
      byFirst.set(first, [...(byFirst.get(first) ?? []), bytes]);
    }
    const words = wordsOf(types);
    let starts = new Uint32Array(1 << 18);
    const named = new Map<string, number>();
    let id = 1;
    let at = 0;
    while (at < words.length) {
      if (at + 3 > words.length) throw fail('a whole type', `${types.length - at * 4} bytes at its end`);
      if (id >= starts.length) {
        const grown = new Uint32Array(starts.length * 2);
        grown.set(starts);
        starts = grown;
      }
      starts[id] = at * 4;
      const info = words[at + 1] as number;
      const kind = (info >>> 24) & 0x1f;
      if (kind === 0 || kind >= EXTRA_EACH.length)
        throw fail('a kind of 1 to 19', `kind ${kind} of type ${id}`);
      if (isDefinition(kind)) {
        const nameAt = words[at] as number;
        const match = byFirst.get(strings[nameAt] as number)?.find(name => isAt(strings, nameAt, name));
        if (match) {
          const name = latin1(match.subarray(0, -1));
          if (!named.has(name)) named.set(name, id);
        }
      }
      at += 3 + (EXTRA_ONCE[kind] as number) + (info & 0xffff) * (EXTRA_EACH[kind] as number);
      if (at > words.length) throw fail('a whole type', `type ${id} of kind ${kind} past the end`);
      id++;
    }
    return new Btf(types, strings, starts.subarray(0, id), named);
  }

  /** Whether the kernel defines that struct, union or enum. */
  has(type: string): boolean {
    return this.named.has(type);
  }

  /** Size of a struct or union in bytes, `undefined` if the kernel has none of that name. */
  sizeOf(type: string): number | undefined {
    const id = this.named.get(type);
    return id === undefined ? undefined : this.size(id);
  }

  /**
   * Where a member lies, through anonymous structs and unions and along dots (`f_inode`, `head.next`); pointers are not
   * followed. `undefined` if there is no such type or member: that is how kernels are told apart.
   */
  member(type: string, path: string): Member | undefined {
    let id = this.named.get(type);
    let offset = 0;
    for (const name of path.split('.')) {
      const found = id === undefined ? undefined : this.find(this.strip(id), name, new Set());
      if (!found) return undefined;
      offset += found.offset;
      id = found.type;
    }
    return id === undefined ? undefined : { offset, size: this.size(id) };
  }

  /** The enumerators of an enum, name → value; `undefined` if the kernel has no such enum. */
  enumerators(type: string): ReadonlyMap<string, number> | undefined {
    const id = this.named.get(type);
    if (id === undefined) return undefined;
    const { kind, vlen, at } = this.decode(id);
    if (kind !== KIND.enum && kind !== KIND.enum64) return undefined;
    const values = new Map<string, number>();
    for (let i = 0; i < vlen; i++) {
      const entry = at + 12 + i * (kind === KIND.enum ? 8 : 12);
      const low = u32(this.types, entry + 4);
      const value = kind === KIND.enum ? low | 0 : u32(this.types, entry + 8) * 0x1_0000_0000 + low;
      if (Number.isSafeInteger(value)) values.set(this.text(u32(this.types, entry)), value);
    }
    return values;
  }

  private decode(id: number) {
    const at = this.starts[id];
    if (at === undefined || id === 0) throw new ParseError('BTF', 'a type id of the table', String(id), 0);
    const info = u32(this.types, at + 4);
    return { at, kind: (info >>> 24) & 0x1f, vlen: info & 0xffff, flag: info >>> 31 !== 0 };
  }

  private text(offset: number): string {
    return cString(this.strings, offset) ?? '';
  }

  /** Follows typedefs and qualifiers. Bounded, because a damaged table could form a ring. */
  private strip(id: number): number {
    for (let depth = 0; depth < 32; depth++) {
      const { kind, at } = this.decode(id);
      const transparent =
        kind === KIND.typedef ||
        kind === KIND.volatile ||
        kind === KIND.const ||
        kind === KIND.restrict ||
        kind === KIND.typeTag;
      if (!transparent) return id;
      const next = u32(this.types, at + 8);
      if (next === 0) return id;
      id = next;
    }
    throw new ParseError('BTF', 'typedefs that end', `type ${id}`, 0);
  }

  private size(id: number): number {
    let elements = 1;
    for (let depth = 0; depth < 32; depth++) {
      const stripped = this.strip(id);
      const { kind, at } = this.decode(stripped);
      // Dimensions of a damaged table may multiply to no exact number.
      if (elements > 2 ** 21) return 0;
      if (kind === KIND.ptr) return 8 * elements;
      if (kind === KIND.array) {
        elements *= u32(this.types, at + 20);
        id = u32(this.types, at + 12);
        continue;
      }
      const sized =
        kind === KIND.int ||
        kind === KIND.float ||
        kind === KIND.enum ||
        kind === KIND.enum64 ||
        isComposite(kind);
      return sized ? u32(this.types, at + 8) * elements : 0;
    }
    return 0;
  }

  /** Looks into each type once: a damaged table could nest types in themselves. */
  private find(id: number, name: string, seen: Set<number>): { offset: number; type: number } | undefined {
    const { kind, at, vlen, flag } = this.decode(id);
    if (!isComposite(kind) || seen.has(id) || seen.size > MAX_NESTED) return undefined;
    seen.add(id);
    for (let i = 0; i < vlen; i++) {
      const entry = at + 12 + i * 12;
      const type = u32(this.types, entry + 4);
      // With kind_flag set the upper 8 bits hold a bit-field size.
      const bits = u32(this.types, entry + 8) & (flag ? 0xffffff : 0xffffffff);
      const nameAt = u32(this.types, entry);
      if (nameAt !== 0) {
        if (this.text(nameAt) === name) return { offset: (bits >>> 0) >>> 3, type };
        continue;
      }
      const inner = this.find(this.strip(type), name, seen);
      if (inner) return { offset: ((bits >>> 0) >>> 3) + inner.offset, type: inner.type };
    }
    return undefined;
  }
}

function isAt(data: Uint8Array, at: number, piece: Uint8Array): boolean {
  for (let i = 0; i < piece.length; i++) if (data[at + i] !== piece[i]) return false;
  return true;
}

function isComposite(kind: number): boolean {
  return kind === KIND.struct || kind === KIND.union;
}
function isDefinition(kind: number): boolean {
  return isComposite(kind) || kind === KIND.enum || kind === KIND.enum64;
}
