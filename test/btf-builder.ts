/** Writes BTF files for tests (include/uapi/linux/btf.h). */

export const BTF = {
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

export class BtfBuilder {
  private readonly types: Buffer[] = [];
  private text = '\0';

  /** Any type: the 12 bytes, then words. Returns its id. */
  add(
    kind: number,
    name: string,
    vlen: number,
    value: number,
    words: readonly number[] = [],
    flag = false,
  ): number {
    const type = Buffer.alloc(12 + words.length * 4);
    type.writeUInt32LE(this.string(name), 0);
    type.writeUInt32LE(((flag ? 0x8000_0000 : 0) | (kind << 24) | vlen) >>> 0, 4);
    type.writeUInt32LE(value, 8);
    for (const [i, word] of words.entries()) type.writeUInt32LE(word >>> 0, 12 + i * 4);
    this.types.push(type);
    return this.types.length;
  }

  int(name: string, bytes: number): number {
    return this.add(BTF.int, name, 0, bytes, [bytes * 8]);
  }

  /** Members: name, type, offset in bits. */
  struct(
    name: string,
    bytes: number,
    members: readonly (readonly [string, number, number])[],
    { kind = BTF.struct as number, flag = false } = {},
  ): number {
    const words = members.flatMap(([member, type, bits]) => [this.string(member), type, bits]);
    return this.add(kind, name, members.length, bytes, words, flag);
  }

  enum(name: string, values: readonly (readonly [string, number])[]): number {
    return this.add(
      BTF.enum,
      name,
      values.length,
      4,
      values.flatMap(([text, value]) => [this.string(text), value]),
    );
  }

  array(type: number, elements: number): number {
    return this.add(BTF.array, '', 0, 0, [type, 0, elements]);
  }

  bytes(): Buffer {
    const types = Buffer.concat(this.types);
    const header = Buffer.alloc(24);
    header.writeUInt16LE(0xeb9f, 0);
    header.writeUInt8(1, 2);
    header.writeUInt32LE(24, 4);
    header.writeUInt32LE(0, 8);
    header.writeUInt32LE(types.length, 12);
    header.writeUInt32LE(types.length, 16);
    header.writeUInt32LE(this.text.length, 20);
    return Buffer.concat([header, types, Buffer.from(this.text, 'latin1')]);
  }

  private string(text: string): number {
    if (text === '') return 0;
    const known = this.text.indexOf(`\0${text}\0`);
    if (known >= 0) return known + 1;
    this.text += `${text}\0`;
    return this.text.length - text.length - 1;
  }
}
