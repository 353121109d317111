import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { deflater, inflate } from '../../sampler/session-bytes.ts';
import { corrupted, corruption } from '../../test/corrupt.ts';
import { someResource, someRun, someSnapshot, someSource } from '../../test/snapshots.ts';
import { fromSnapshot, toSnapshot } from '../run-columns.ts';
import type { Snapshot } from '../snapshot.ts';
import { SessionFileError } from './decode.ts';
import { applied, difference, type Operation } from './delta.ts';
import { findFrames, frameHead } from './frame.ts';
import { LineMaker, type SessionLine } from './line.ts';
import { SessionFile } from './reader.ts';
import { joined, SessionWriter } from './writer.ts';

const bundled = readFileSync(
  fileURLToPath(new URL('../../renderer/public/recorded.pinscope', import.meta.url)),
);

const HEADER = {
  createdAt: '2026-03-04T05:06:07.000Z',
  periodMs: 1000,
  redacted: false,
  title: null,
  openAt: null,
};

async function written(snapshots: readonly Snapshot[]): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const writer = new SessionWriter({
    header: HEADER,
    deflater,
    write: async bytes => void parts.push(bytes),
  });
  for (const snapshot of snapshots) await writer.add(fromSnapshot(snapshot));
  await writer.end();
  return joined(parts);
}

/** All whole samples of a file by number. */
async function shown(file: SessionFile): Promise<Map<number, Snapshot>> {
  const all = new Map<number, Snapshot>();
  for await (const entry of file.entries()) {
    if (entry.kind === 'sample') all.set(entry.number, toSnapshot(entry.sample));
  }
  return all;
}

describe('a delta', () => {
  const through = (before: Snapshot, after: Snapshot): Snapshot => {
    const operations = difference(fromSnapshot(before), fromSnapshot(after));
    return toSnapshot(applied(fromSnapshot(before), JSON.parse(JSON.stringify(operations)) as Operation[]));
  };

  test('of a sample to itself is empty', () => {
    const sample = fromSnapshot(someSnapshot());
    expect(difference(sample, fromSnapshot(someSnapshot()))).toEqual([]);
  });

  test('holds what changed and nothing else', () => {
    const before = someSnapshot();
    const after = someSnapshot({
      resources: [someResource({ count: 3 }), someResource({ inode: 9, pages: null })],
    });
    expect(difference(fromSnapshot(before), fromSnapshot(after))).toEqual([
      [['resources', 'inode:7', 'count'], 3],
      [['resources', 'inode:9'], someResource({ inode: 9, pages: null })],
    ]);
    expect(through(before, after)).toEqual(after);
    expect(through(after, before)).toEqual(before);
  });

  test('of page runs is the piece that changed', () => {
    const runs = [0, 1, 2, 3].map(i => someRun({ index: i * 9, pfn: 100 + 20 * i, count: 9 }));
    const withRuns = (of: typeof runs) =>
      someSnapshot({
        resources: [someResource({ pages: { ...pagesOf(someResource()), runs: of } })],
      });
    const lost = runs.map((run, i) => (i === 2 ? { ...run, backing: 'disconnected' as const } : run));
    const operations = difference(fromSnapshot(withRuns(runs)), fromSnapshot(withRuns(lost)));
    expect(operations).toEqual([[['resources', 'inode:7', 'pages', 'runs'], 2, 1, [lost[2]]]]);
    expect(through(withRuns(runs), withRuns(lost))).toEqual(withRuns(lost));
  });

  test('makes any snapshot of any other', () => {
    const resource = fc.record({
      inode: fc.integer({ min: 1, max: 8 }),
      count: fc.option(fc.nat(5)),
      name: fc.option(fc.constantFrom('a', 'ü\u2028', '__proto__')),
      pages: fc.option(fc.array(fc.nat(3), { maxLength: 4 })),
    });
    const snapshot = fc
      .record({
        resources: fc.array(resource, { maxLength: 6 }),
        sorted: fc.boolean(),
        zones: fc.option(fc.array(fc.nat(3), { maxLength: 4 })),
        sources: fc.array(
          fc.record({ name: fc.constantFrom('a', 'b'), costMs: fc.nat(9), denied: fc.boolean() }),
        ),
        takenAt: fc.nat(9),
      })
      .map(
        ({ resources, sorted, zones, sources, takenAt }): Snapshot =>
          someSnapshot({
            takenAt: `2026-03-04T05:06:0${takenAt}.000Z`,
            host: { memoryBlocks: zones?.map(block => someBlock(block)) ?? null },
            sources: sources.map(({ name, costMs, denied }) =>
              someSource(name, denied ? { costMs, state: 'denied', grant: 'root' } : { costMs }),
            ),
            resources: (sorted
              ? [...new Map(resources.map(each => [each.inode, each])).values()].sort(
                  (a, b) => a.inode - b.inode,
                )
              : resources
            ).map(({ inode, count, name, pages }) =>
              someResource({
                inode,
                count,
                name,
                pages: pages && {
                  ...pagesOf(someResource()),
                  runs: pages.map((pfn, index) =>
                    someRun({ index, pfn, zone: pfn === 1 ? null : `Z${pfn}` }),
                  ),
                },
              }),
            ),
          }),
      );
    fc.assert(
      fc.property(snapshot, snapshot, (before, after) => {
        expect(through(before, after)).toEqual(after);
      }),
      { numRuns: 500 },
    );
  });

  test('of another program that fits nothing is refused', () => {
    const sample = fromSnapshot(someSnapshot());
    for (const operation of [
      [['host', 'zones', 7], 1],
      [['resources', 'inode:99', 'count'], 1],
      [['resources', 'inode:7', 'pages', 'runs'], 0, 9, []],
      [['takenAt', 'x'], 1],
      [['sources', '*', 'costMs'], [1]],
    ] as const) {
      expect(() => applied(sample, [operation as unknown as Operation])).toThrow();
    }
  });
});

describe('the bundled session', () => {
  let file: SessionFile;
  let original: Map<number, Snapshot>;
  beforeAll(async () => {
    file = await SessionFile.open(bundled, inflate);
    original = await shown(file);
  });

  test('is whole: a QEMU whose framebuffer of 2025 pages loses some, and gets another', async () => {
    expect(await file.examine()).toMatchObject({
      damage: [],
      whole: file.count,
      complete: true,
      unknownLines: 0,
    });
    expect(bundled.length).toBeLessThan(300 * 1024);
    const states = [...original.values()].map(({ resources, findings }) => ({
      framebuffer: resources.some(({ pages }) => pages?.count === 2025),
      wrong: findings.some(({ rule, severity }) => rule === 'disconnected' && severity === 'error'),
      buffers: resources.length,
    }));
    expect(states.every(({ framebuffer }) => framebuffer)).toBe(true);
    expect(states[0]?.wrong).toBe(false);
    expect(states[file.header.openAt ?? 0]?.wrong).toBe(true);
    expect(states[(file.header.openAt ?? 0) - 1]?.wrong).toBe(false);
    expect(new Set(states.map(({ buffers }) => buffers)).size).toBeGreaterThan(3);
  });

  test('is read by zcat and a JSON reader: header first, whole snapshots and changes', () => {
    const lines = gunzipSync(bundled)
      .toString('ascii')
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line));
    expect(lines[0]).toMatchObject({ seq: 0, header: { schema: 'pinscope.session/1' } });
    expect(lines[1].snapshot).toEqual(original.get(0));
    expect(lines.map(({ seq }) => seq)).toEqual(lines.map((_, i) => i));
  });

  test('is the same file when it is written again', async () => {
    const again = await SessionFile.open(await written([...original.values()]), inflate);
    expect(await shown(again)).toEqual(original);
  });

  test('finds samples by number and by time', async () => {
    for (const n of [0, 1, 59, 60, 61, file.count - 1]) {
      const sample = await file.sample(n);
      expect(sample && toSnapshot(sample)).toEqual(original.get(n));
      expect(await file.numberAt(Date.parse(sample?.takenAt ?? ''))).toBe(n);
      expect(await file.numberAt(Date.parse(sample?.takenAt ?? '') - 1)).toBe(Math.max(0, n - 1));
    }
    expect(await file.numberAt(0)).toBe(0);
    expect(await file.numberAt(Date.now())).toBe(file.count - 1);
    await expect(file.sample(file.count)).rejects.toThrow(RangeError);
  });

  test('cut anywhere, it opens as far as it is whole', async () => {
    const frames = findFrames(bundled);
    expect(frames.length).toBeGreaterThan(1);
    let most = 0;
    const step = Math.ceil(bundled.length / 97);
    for (let end = 0; end <= bundled.length; end += step) {
      const samples = await samplesOf(bundled.subarray(0, end));
      expect(samples.size).toBeGreaterThanOrEqual(most);
      most = samples.size;
      expectOriginal(samples);
    }
    expect(most).toBeGreaterThan(80);
  });

  test('with its second frame gone, it shows the rest and names the gap', async () => {
    const [, second] = findFrames(bundled);
    const copy = Buffer.from(bundled);
    copy.fill(0x55, second?.data, (second?.data ?? 0) + 64);
    const damaged = await SessionFile.open(copy, inflate);
    const { damage } = await damaged.examine();
    expect(damage).toMatchObject([{ offset: second?.offset, sample: second?.sample, after: null }]);
    expect(await damaged.sample(0)).not.toBeNull();
  });

  test('a thousand damages: never a crash, never another number than the original’s', async () => {
    let opened = 0;
    let samples = 0;
    await fc.assert(
      fc.asyncProperty(corruption, async damage => {
        const left = await samplesOf(corrupted(bundled, damage));
        if (left.size > 0) opened++;
        samples += left.size;
        expectOriginal(left);
      }),
      { numRuns: 1000 },
    );
    // It could have passed by opening nothing.
    expect(opened).toBeGreaterThan(150);
    expect(samples).toBeGreaterThan(5000);
  }, 300_000);

  /** Each as it was, to the last number. */
  const expectOriginal = (samples: Map<number, Snapshot>) => {
    const wrong = [...samples].filter(([n, snapshot]) => !isDeepStrictEqual(snapshot, original.get(n)));
    expect(wrong.map(([n]) => n)).toEqual([]);
  };
  const samplesOf = async (bytes: Uint8Array): Promise<Map<number, Snapshot>> => {
    let opened: SessionFile;
    try {
      opened = await SessionFile.open(bytes, inflate);
    } catch (error) {
      expect(error).toBeInstanceOf(SessionFileError);
      return new Map();
    }
    const { damage, whole } = await opened.examine();
    const samples = await shown(opened);
    expect(samples.size).toBe(whole);
    // What is missing before the last whole sample is named.
    const missing = damage.reduce((sum, { count }) => sum + (count ?? 0), 0);
    expect(whole + missing).toBeGreaterThanOrEqual(opened.count);
    return samples;
  };
});

describe('a file of another program', () => {
  /** A file of one frame with these lines. */
  async function file(
    ...lines: readonly (SessionLine | { kind: string; value: unknown })[]
  ): Promise<Uint8Array> {
    const maker = new LineMaker();
    const stream = deflater();
    const text = lines.map((line, i) => maker.make(i, line as SessionLine)).join('');
    return joined([
      frameHead({ sample: 0, line: 0, time: 1, timeBefore: null }),
      await stream.add(text),
      await stream.end(),
    ]);
  }
  const header = { kind: 'header', value: { ...HEADER, schema: 'pinscope.session/1' } } as const;
  const snapshot = { kind: 'snapshot', value: someSnapshot() } as const;

  test('that is newer is refused with a sentence', async () => {
    const newer = await file({ kind: 'header', value: { schema: 'pinscope.session/2' } }, snapshot);
    await expect(SessionFile.open(newer, inflate)).rejects.toThrow(/A newer Pinscope wrote this session/);
  });

  test('with lines of unknown kinds is read, and they are counted', async () => {
    const opened = await SessionFile.open(
      await file(header, snapshot, { kind: 'mark', value: { text: 'here' } }, { kind: 'delta', value: [] }),
      inflate,
    );
    expect([opened.count, (await opened.examine()).unknownLines]).toEqual([2, 1]);
  });

  test('whose snapshots are none shows none of them', async () => {
    for (const wrong of [
      7,
      { schema: 'pinscope.snapshot/1' },
      { ...someSnapshot(), resources: [{ inode: 'seven' }] },
      { ...someSnapshot(), takenAt: 'yesterday' },
      { ...someSnapshot(), sources: [{ name: 'x' }] },
    ]) {
      await expect(
        SessionFile.open(await file(header, { kind: 'snapshot', value: wrong }), inflate),
      ).rejects.toThrow(/no sample of it is whole/);
    }
    const after = await file(header, snapshot, { kind: 'delta', value: [[['resources'], 7]] });
    const opened = await SessionFile.open(after, inflate);
    expect([opened.count, (await opened.examine()).damage.length]).toEqual([1, 1]);
  });

  test('that is no session is refused', async () => {
    for (const bytes of [
      new Uint8Array(0),
      Buffer.from('{"schema":"pinscope.snapshot/1"}'),
      bundled.subarray(60),
    ]) {
      const opening = SessionFile.open(bytes, inflate);
      if (bytes.length > 1000)
        expect((await (await opening).examine()).damage[0]).toMatchObject({ offset: 0, sample: 0 });
      else await expect(opening).rejects.toThrow(/no session of Pinscope/);
    }
  });
});

const pagesOf = ({ pages }: ReturnType<typeof someResource>) => {
  if (pages === null) throw new Error('no pages');
  return pages;
};
const someBlock = (block: number) => ({
  block,
  startPfn: block * 0x8000,
  node: 0,
  validZones: ['Normal'],
  state: 'online',
  pinnedPages: null,
  heldBy: [],
});
