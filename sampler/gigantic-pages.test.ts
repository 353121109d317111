import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { FrameMap } from '../model/join/frames.ts';
import { GIGANTIC_PAGE } from '../model/units.ts';
import { RecordedHost } from '../test/recorded-host.ts';
import { readGiganticPages } from './gigantic-pages.ts';

const open: RecordedHost[] = [];
afterEach(() => {
  for (const host of open.splice(0)) host.close();
});

/** Movable from 8 GiB on; 16 to 17 GiB is of two nodes, and nothing tells which. */
const zone = (name: string, node: number, from: number, to: number) => ({
  ...{ node, zone: name, startPfn: from * 2 ** 18, spannedPages: (to - from) * 2 ** 18 },
  ...{ presentPages: 1, managedPages: 1, freePages: 1, cmaPages: 0, freeCmaPages: 0 },
});
const frames = new FrameMap([zone('Normal', 0, 4, 8), zone('Movable', 0, 8, 17), zone('Normal', 1, 16, 20)]);

const PRESENT = 1n << 63n;
/** A process that maps one gigantic page after the other from 1 GiB on; a page's entry, or null for a hole. */
function mapped(entries: readonly (bigint | null)[]) {
  const host = new RecordedHost();
  open.push(host);
  host.write('/proc/5/pagemap', '');
  const fd = openSync(join(host.root, 'proc/5/pagemap'), 'r+');
  const end = GIGANTIC_PAGE * (entries.length + 1);
  for (const [i, entry] of [...entries, 0n].entries())
    writeSync(fd, new BigUint64Array([entry ?? 0n]), 0, 8, ((i + 1) * GIGANTIC_PAGE * 8) / 4096);
  closeSync(fd);
  const mapping = {
    start: BigInt(GIGANTIC_PAGE),
    end: BigInt(end),
    offset: 0,
    dev: 1,
    inode: 2,
    shared: true,
  };
  return { host, mapping };
}
const at = (gib: number) => PRESENT | BigInt(gib * 2 ** 18);
const read = (
  { host, mapping }: ReturnType<typeof mapped>,
  map: FrameMap | undefined = frames,
  twice = false,
) => readGiganticPages(host.files, host.native, 5, twice ? [mapping, mapping] : [mapping], map);

test('counts the pages that are there, and where they lie', async () => {
  const made = mapped([at(5), null, at(8), at(15), null]);
  expect(await read(made)).toMatchObject({ state: 'ok', value: { pages: 3, inMovable: 2 } });
  expect(await read(made, frames, true)).toMatchObject({ value: { pages: 3, inMovable: 2 } });
});

test('untouched memory has none', async () => {
  expect(await read(mapped([null, null]))).toMatchObject({ state: 'ok', value: { pages: 0, inMovable: 0 } });
});

test('hidden PFNs are denied, not counted as the first page of the machine', async () => {
  expect(await read(mapped([PRESENT, at(8)]))).toMatchObject({
    state: 'denied',
    grant: expect.stringContaining('CAP_SYS_ADMIN'),
  });
});

test('a page of which no zone is told is not one outside ZONE_MOVABLE', async () => {
  expect(await read(mapped([at(16)]))).toMatchObject({ state: 'absent' });
  const made = mapped([at(8)]);
  expect(
    await readGiganticPages(made.host.files, made.host.native, 5, [made.mapping], undefined),
  ).toMatchObject({
    state: 'absent',
  });
});

test('a process that is gone is raced', async () => {
  const made = mapped([at(8)]);
  made.host.remove('/proc/5');
  expect(await read(made)).toMatchObject({ state: 'raced' });
});
