/** Migratetypes and attachments, against the kernel's own tables. */
import { readFileSync } from 'node:fs';
import { parsePageTypeInfo } from '../../../model/host/pagetypeinfo.ts';
import { parseZoneinfo } from '../../../model/host/zoneinfo.ts';
import { FrameMap } from '../../../model/join/frames.ts';
import { readPageFacts } from '../../../model/kernel/pages.ts';
import { openHost } from '../../../sampler/access.ts';
import { openKernel, readKernel } from '../../../sampler/kernel.ts';
import type { RigCase } from '../case.ts';
import { resourceOf } from '../compare.ts';

export const placeCases: readonly RigCase[] = [
  {
    name: 'migratetypes of all pageblocks add up to those of /proc/pagetypeinfo',
    boot: 'zones',
    async run(t) {
      const { files, native } = openHost();
      const kernel = await openKernel(files, native, readKernel(files));
      if (kernel.state !== 'ok') throw new Error(JSON.stringify(kernel));
      const { memory, layout } = kernel.value;
      t.atEnd(async () => memory.close());
      const zones = parseZoneinfo(readFileSync('/proc/zoneinfo', 'utf8'));
      const frames = new FrameMap(zones);
      // Blocks change type while the machine runs, so both are read until the kernel's table holds still around ours.
      for (let attempt = 0; attempt < 10; attempt++) {
        const before = readFileSync('/proc/pagetypeinfo', 'utf8');
        const theirs = parsePageTypeInfo(before);
        const starts = zones.flatMap(({ startPfn, spannedPages }) => {
          if (startPfn === null) return [];
          const first = Math.floor(startPfn / theirs.pagesPerBlock);
          const last = Math.floor((startPfn + spannedPages - 1) / theirs.pagesPerBlock);
          return Array.from({ length: last - first + 1 }, (_, i) =>
            Math.max(startPfn, (first + i) * theirs.pagesPerBlock),
          );
        });
        const facts = await readPageFacts(memory, layout, [Float64Array.from(starts)], theirs.pageblockOrder);
        const after = parsePageTypeInfo(readFileSync('/proc/pagetypeinfo', 'utf8'));
        const table = (info: typeof theirs) =>
          info.types
            .filter(({ blocks }) => blocks > 0)
            .map(({ node, zone, type, blocks }) => `${node} ${zone} ${type} ${blocks}`)
            .sort();
        if (JSON.stringify(table(theirs)) !== JSON.stringify(table(after))) continue;
        const counts = new Map<string, number>();
        for (const pfn of starts) {
          // Holes of a zone have no online section, or blocks that pagetypeinfo leaves out: memory blocks tell which exist.
          const block = `/sys/devices/system/memory/memory${Math.floor(pfn / 32768)}/state`;
          if (files.text(block).state !== 'ok') continue;
          const { node, zone } = frames.locate(pfn);
          const type = layout.pageblocks?.types.get(facts.migratetype[facts.slot(pfn)] ?? -1) ?? '?';
          const key = `${node} ${zone} ${type}`;
          counts.set(key, (counts.get(key) ?? 0) + 1);
        }
        const ours = [...counts].map(([key, count]) => `${key} ${count}`).sort();
        t.equal('blocks by node, zone and type', ours, table(theirs));
        return;
      }
      throw new Error('pagetypeinfo never held still');
    },
  },
  {
    name: 'an attached device is named, as bufinfo names it, and told of where the kernel caches its mapping',
    boot: 'zones',
    async run(t) {
      await t.sh('[ -e /dev/dri/card0 ] || modprobe vgem');
      const helper = await t.buffers('--memfd', 'shmem,1M', '--count', '2', '--buffer', '0,64K');
      const [first = 0, second = 0] = helper.buffers.map(({ inode }) => inode);
      const before = await t.snapshot(helper.pid);
      t.equal('none before', resourceOf(before, first).attachments, []);
      t.judged('two buffers, vgem is there and has none of them', before);
      await helper.command('attach /dev/dri/card0 0');
      const after = await t.snapshot(helper.pid);
      const bufinfo = await t.sh(`sed -n '/\\t0*${first}\\t/,/Total/p' /sys/kernel/debug/dma_buf/bufinfo`);
      // dma_buf_map_attachment() leaves the table in dma_buf_attachment.sgt until 6.15, when the member went.
      const caches = t.kernel !== '7.2';
      t.equal(
        'the device, and that it keeps a mapping where the kernel tells',
        [first, second].map(inode => resourceOf(after, inode).attachments),
        [[{ device: 'vgem', mapped: caches ? true : null }], []],
      );
      t.ok('bufinfo names it too', bufinfo.includes('vgem'), bufinfo);
      t.judged('two buffers, one of them imported by vgem', after);
      const told = after.findings.filter(({ rule }) => rule === 'known-bug');
      t.equal(
        'a known fault',
        told.map(({ title }) => title),
        caches ? ['Known fault: a device keeps its mapping until it detaches'] : [],
      );
      if (caches) {
        const attached = told[0]?.evidence.find(({ field }) => field === 'attached buffers');
        t.equal('of that buffer alone', attached?.value, String(first));
      }
    },
  },
];
