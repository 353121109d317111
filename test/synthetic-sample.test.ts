import { expect, test } from 'vitest';
import { syntheticSample } from './synthetic-sample.ts';

test.each([
  { resources: 60, runsPerResource: 7, pagesPerRun: 5, unread: 3 },
  { resources: 64, runsPerResource: 8, pagesPerRun: 1024 },
])('pages are held once, in the zones and blocks of the host: %o', size => {
  const { resources, host, target, findings } = syntheticSample(size);
  const read = resources.filter(({ pages }) => pages !== null);
  expect(resources).toHaveLength(size.resources);
  expect(read).toHaveLength(size.resources - (size.unread ?? 0));
  const pfns = new Set<number>();
  const gpas = new Set<number>();
  let known = 0;
  for (const { pages } of read) {
    if (pages === null) continue;
    const { runs } = pages;
    expect(runs.length).toBe(size.runsPerResource);
    for (let i = 0; i < runs.length; i++) {
      const [pfn = 0, count = 0, gpa = 0] = [runs.pfn[i], runs.count[i], runs.gpa[i]];
      const zone = host.zones?.find(
        ({ startPfn, spannedPages }) => startPfn !== null && pfn >= startPfn && pfn < startPfn + spannedPages,
      );
      expect([zone?.node, zone?.zone]).toEqual([runs.node[i], runs.names[runs.zone[i] ?? -1]]);
      if (!Number.isNaN(gpa)) known += count;
      for (let page = 0; page < count; page++) {
        pfns.add(pfn + page);
        if (!Number.isNaN(gpa)) gpas.add(gpa + 4096 * page);
      }
    }
  }
  const all = read.length * size.runsPerResource * size.pagesPerRun;
  expect([pfns.size, gpas.size]).toEqual([all, known]);
  expect(host.memoryBlocks?.reduce((sum, { pinnedPages }) => sum + (pinnedPages ?? 0), 0)).toBe(all);
  const end = 2 ** 32 + (target.ram?.[0]?.sizeBytes ?? 0);
  expect([...gpas].every(gpa => gpa < end)).toBe(true);
  expect(findings.map(({ resource }) => resource)).toEqual([1049]);
});
