import { asGpa, type Gpa } from '../units.ts';
import { JsonReader } from './json.ts';
import { backendIdOf } from './ramblock.ts';

/** A memory device of a running guest. */
export interface MemoryDevice {
  /** `dimm`, `nvdimm`, `virtio-pmem`, `virtio-mem`, `sgx-epc`, `hv-balloon`, or one that is newer. */
  readonly type: string;
  readonly id: string | null;
  /** Id of the memory backend. */
  readonly memdev: string | null;
  readonly gpa: Gpa | null;
  /** What the guest has of it now: for virtio-mem the plugged part, which moves. */
  readonly sizeBytes: number | null;
  /** virtio-mem: what the host asks the guest to have. */
  readonly requestedBytes: number | null;
  readonly maxBytes: number | null;
  readonly blockBytes: number | null;
}

/**
 * Reads the result of `query-memory-devices`: MemoryDeviceInfo of qapi/machine.json, 7.2 (10.x only adds types).
 * Members that a type does not have are null; a type that we do not know keeps what it shares with others.
 * @throws ParseError
 */
export function parseQueryMemoryDevices(result: unknown): MemoryDevice[] {
  return new JsonReader('query-memory-devices', result).items().map(item => {
    const data = item.get('data');
    const number = (key: string): number | null => data.get(key).optional(value => value.size());
    const gpa = number('addr') ?? number('memaddr');
    return {
      type: item.get('type').string(),
      id: data.get('id').optional(id => id.string()),
      memdev: data.get('memdev').optional(memdev => backendIdOf(memdev.string())),
      gpa: gpa === null ? null : asGpa(gpa),
      sizeBytes: number('size'),
      requestedBytes: number('requested-size'),
      maxBytes: number('max-size'),
      blockBytes: number('block-size'),
    };
  });
}
