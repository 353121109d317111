/**
 * Makes a small BTF of a kernel's: the wanted types with all that lies in them by value. Pointers become pointers to void,
 * which have the same size; functions, variables and everything that only a pointer leads to is left out.
 */

const KIND = { ptr: 2, array: 3, struct: 4, union: 5, enum: 6, enum64: 19 } as const;
/** int, typedef, volatile, const, restrict, float, type tag: what may stand in a member by value besides the above. */
const PLAIN: ReadonlySet<number> = new Set([1, 16]);
const REFERRING: ReadonlySet<number> = new Set([8, 9, 10, 11, 18]);
/** Bytes behind the 12 of `struct btf_type` by kind: once, and an element. */
const ONCE: Readonly<Record<number, number>> = { 1: 4, 3: 12, 14: 4, 17: 4 };
const EACH: Readonly<Record<number, number>> = { 4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12 };

interface Type {
  readonly name: string;
  readonly info: number;
  readonly kind: number;
  /** Size or type, as the kind says. */
  readonly value: number;
  /** What follows the 12 bytes. */
  readonly rest: Buffer;
}

/** A BTF file taken apart. Type 0 is void. */
class Types {
  readonly all: Type[] = [{ name: '', info: 0, kind: 0, value: 0, rest: Buffer.alloc(0) }];
  private readonly strings: Buffer;

  constructor(btf: Buffer) {
    const header = btf.readUInt32LE(4);
    const types = btf.subarray(header + btf.readUInt32LE(8)).subarray(0, btf.readUInt32LE(12));
    this.strings = btf.subarray(header + btf.readUInt32LE(16)).subarray(0, btf.readUInt32LE(20));
    for (let at = 0; at < types.length; ) {
      const info = types.readUInt32LE(at + 4);
      const kind = (info >>> 24) & 0x1f;
      const bytes = (ONCE[kind] ?? 0) + (EACH[kind] ?? 0) * (info & 0xffff);
      const rest = types.subarray(at + 12, at + 12 + bytes);
      const name = this.text(types.readUInt32LE(at));
      this.all.push({ name, info, kind, value: types.readUInt32LE(at + 8), rest });
      at += 12 + bytes;
    }
  }

  /** Id of a struct, union or enum. */
  definition(name: string): number {
    return this.all.findIndex(type => type.name === name && (isComposite(type.kind) || isEnum(type.kind)));
  }

  /** Names of the members or enumerators of a type. */
  elements({ kind, rest }: Type): string[] {
    if (!isComposite(kind) && !isEnum(kind)) return [];
    const list: string[] = [];
    for (let at = 0; at < rest.length; at += EACH[kind] ?? 0) list.push(this.text(rest.readUInt32LE(at)));
    return list;
  }

  private text(at: number): string {
    return this.strings.toString('latin1', at, this.strings.indexOf(0, at));
  }
}

const isComposite = (kind: number): boolean => kind === KIND.struct || kind === KIND.union;
const isEnum = (kind: number): boolean => kind === KIND.enum || kind === KIND.enum64;

/** @returns a BTF file with the wanted structs, unions and enums that `btf` has */
export function trimBtf(btf: Buffer, wanted: readonly string[]): Buffer {
  const types = new Types(btf);
  const strings = new StringTable();
  const out: Buffer[] = [];
  const ids = new Map<number, number>();
  const references: (() => void)[] = [];
  let voidPointer = 0;

  const add = ({ name, info, value, rest }: Omit<Type, 'kind'>): Buffer => {
    const type = Buffer.alloc(12 + rest.length);
    type.writeUInt32LE(strings.of(name), 0);
    type.writeUInt32LE(info >>> 0, 4);
    type.writeUInt32LE(value, 8);
    rest.copy(type, 12);
    out.push(type);
    return type;
  };

  /** New id of a type that lies somewhere by value; what it refers to itself is kept later, by `references`. */
  const keep = (id: number): number => {
    const known = ids.get(id);
    if (known !== undefined) return known;
    const type = types.all[id];
    if (!type || id === 0) return 0;
    const { kind, value, rest } = type;
    if (kind === KIND.ptr) {
      if (voidPointer === 0) {
        add({ name: '', info: KIND.ptr << 24, value: 0, rest: Buffer.alloc(0) });
        voidPointer = out.length;
      }
      ids.set(id, voidPointer);
      return voidPointer;
    }
    const plain = PLAIN.has(kind) || REFERRING.has(kind) || kind === KIND.array;
    // A forward declaration or a function: no value has such a type.
    if (!plain && !isEnum(kind) && !isComposite(kind)) return 0;
    const copy = add(type);
    const mine = out.length;
    ids.set(id, mine);
    if (REFERRING.has(kind)) references.push(() => copy.writeUInt32LE(keep(value), 8));
    if (kind === KIND.array) {
      references.push(() => {
        copy.writeUInt32LE(keep(rest.readUInt32LE(0)), 12);
        copy.writeUInt32LE(keep(rest.readUInt32LE(4)), 16);
      });
    }
    for (const [i, name] of types.elements(type).entries()) {
      const at = i * (EACH[kind] ?? 0);
      copy.writeUInt32LE(strings.of(name), 12 + at);
      if (isComposite(kind)) {
        references.push(() => copy.writeUInt32LE(keep(rest.readUInt32LE(at + 4)), 12 + at + 4));
      }
    }
    return mine;
  };

  for (const name of wanted) {
    const id = types.definition(name);
    if (id > 0) keep(id);
  }
  for (let next = references.shift(); next; next = references.shift()) next();

  const typeBytes = Buffer.concat(out);
  const stringBytes = strings.bytes();
  const header = Buffer.alloc(24);
  btf.copy(header, 0, 0, 4);
  header.writeUInt32LE(24, 4);
  header.writeUInt32LE(0, 8);
  header.writeUInt32LE(typeBytes.length, 12);
  header.writeUInt32LE(typeBytes.length, 16);
  header.writeUInt32LE(stringBytes.length, 20);
  return Buffer.concat([header, typeBytes, stringBytes]);
}

/** Names of the members of a struct, those of what is anonymous in it included. */
export function memberNames(btf: Buffer, typeName: string): string[] {
  const types = new Types(btf);
  const inside = (id: number): string[] => {
    let at = id;
    while (REFERRING.has(types.all[at]?.kind ?? 0)) at = types.all[at]?.value ?? 0;
    const type = types.all[at];
    if (!type || !isComposite(type.kind)) return [];
    return types
      .elements(type)
      .flatMap((name, i) => (name === '' ? inside(type.rest.readUInt32LE(i * 12 + 4)) : [name]));
  };
  return inside(types.definition(typeName));
}

class StringTable {
  private readonly at = new Map<string, number>([['', 0]]);
  private readonly parts: string[] = ['\0'];
  private length = 1;

  of(text: string): number {
    let at = this.at.get(text);
    if (at === undefined) {
      at = this.length;
      this.at.set(text, at);
      this.parts.push(`${text}\0`);
      this.length += text.length + 1;
    }
    return at;
  }

  bytes(): Buffer {
    return Buffer.from(this.parts.join(''), 'latin1');
  }
}
