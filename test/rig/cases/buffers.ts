/** A test program's udmabufs, exact to the page. The program reads its own pagemap; Pinscope reads kernel memory. */
import type { RigCase } from '../case.ts';
import {
  allocatedBlocks,
  checkPfns,
  checkPlaces,
  KPF,
  pageFlags,
  pagesOf,
  perPage,
  resourceOf,
  samePfns,
} from '../compare.ts';

const MiB = 1 << 20;

export const bufferCases: readonly RigCase[] = [
  {
    name: 'shmem and 2 MiB hugetlb at offset 12 KiB: 256 of 256 PFNs, zone, node, folio, references',
    boot: 'zones',
    async run(t) {
      const helper = await t.buffers(
        ...[
          '--memfd',
          'shmem,4M',
          '--buffer',
          '12K,1M',
          '--memfd',
          'huge2m,4M',
          '--buffer',
          '12K,1M',
          '--map',
        ],
      );
      const [shmem, huge] = helper.buffers;
      if (!shmem || !huge) throw new Error('two buffers were asked for');
      const snapshot = await t.snapshot(helper.pid);
      t.equal('era', snapshot.host.kernel.udmabufEra, t.pageRefs ? 'page-refs' : 'folio-pins');
      for (const [what, witness] of [
        ['shmem', shmem],
        ['hugetlb', huge],
      ] as const) {
        const pages = pagesOf(snapshot, witness.inode);
        const { runs } = pages;
        checkPfns(t, what, runs, witness);
        const compared = checkPlaces(t, what, runs);
        t.ok(
          `${what}: memory blocks of one zone were there to compare with`,
          compared > 0 || t.kernel !== '6.1',
          compared,
        );
        const folioBytes = what === 'shmem' ? 4096 : 2 * MiB;
        t.equal(
          `${what}: folio size of every page`,
          [...new Set(runs.map(run => run.folioBytes))],
          [folioBytes],
        );
        t.equal(
          `${what}: entries, folios, folio bytes`,
          [pages.count, pages.folios, pages.folioBytes],
          what === 'shmem' ? [256, 256, MiB] : [256, 1, 2 * MiB],
        );
        t.equal(
          `${what}: pin and page references`,
          [pages.pinReferences, pages.pageReferences],
          t.pageRefs ? [0, 256] : [what === 'shmem' ? 256 : 1, 0],
        );
        t.equal(
          `${what}: every page at its offset of the memfd`,
          perPage(runs, (run, i) => (run.ramOffset ?? -1) + 4096 * i),
          Array.from({ length: 256 }, (_, i) => 12288 + 4096 * i),
        );
        t.equal(
          `${what}: the memfd`,
          [...new Set(runs.map(run => run.ramInode))],
          [helper.memfds[what === 'shmem' ? 0 : 1]?.inode],
        );
        t.equal(`${what}: backing`, [...new Set(runs.map(run => run.backing))], ['connected']);
        t.ok(
          `${what}: migratetype known`,
          runs.every(run => run.migratetype !== null),
          runs[0],
        );
        const flags = pageFlags(runs[0]?.pfn ?? 0);
        t.equal(
          `${what}: kpageflags agrees about hugetlb`,
          (flags >> BigInt(KPF.huge)) & 1n,
          what === 'shmem' ? 0n : 1n,
        );
        if (t.pageRefs) {
          t.ok(
            `${what}: CREATE moved nothing out of Movable or CMA`,
            runs.every(
              run => run.zone === 'Movable' || run.migratetype === 'CMA' || run.migratetype === 'Movable',
            ),
            runs,
          );
        } else {
          t.ok(
            `${what}: CREATE moved pages out of Movable and CMA`,
            runs.every(run => run.zone !== 'Movable' && run.migratetype !== 'CMA'),
            runs,
          );
        }
        const { count, holders, createdAt } = resourceOf(snapshot, witness.inode);
        t.equal(
          `${what}: references and holders`,
          [count, holders.map(holder => [holder.pid, holder.fds, holder.mappings.length])],
          [2, [[helper.pid, [witness.fd], 1]]],
        );
        const age = Date.parse(snapshot.takenAt) - Date.parse(createdAt ?? '');
        t.ok(`${what}: created a moment ago`, age >= -1000 && age < 120_000, age);
      }
      const held = snapshot.host.memoryBlocks?.reduce((sum, block) => sum + (block.pinnedPages ?? 0), 0);
      t.equal('all 512 pages lie in memory blocks', held, 512);
      t.equal(
        'all sources of the join were read',
        snapshot.sources.filter(
          ({ name, state }) =>
            ['kernel-memory', 'pagemap', 'zoneinfo', 'pagetypeinfo', 'memory-blocks'].includes(name) &&
            state !== 'ok',
        ),
        [],
      );
    },
  },
  {
    name: 'CREATE_LIST with overlapping and repeated items',
    boot: 'zones',
    async run(t) {
      const helper = await t.buffers('--memfd', 'shmem,1M', '--list', '0,64K+32K,64K+0,64K+512K,4K');
      const [witness] = helper.buffers;
      if (!witness) throw new Error(`refused: ${JSON.stringify(helper.refused)}`);
      const pages = pagesOf(await t.snapshot(helper.pid), witness.inode);
      checkPfns(t, 'list', pages.runs, witness);
      t.equal(
        'entries and distinct folios',
        [pages.count, pages.folios, pages.folioBytes],
        [49, 25, 25 * 4096],
      );
      t.equal(
        'one reference an item and page',
        [pages.pinReferences, pages.pageReferences],
        t.pageRefs ? [0, 49] : [49, 0],
      );
    },
  },
  {
    name: 'a 12 KiB buffer inside a THP holds 2 MiB',
    boot: 'zones',
    async run(t) {
      const enabled = () => t.sh('cat /sys/kernel/mm/transparent_hugepage/shmem_enabled');
      const before = await enabled();
      const helper = await t.buffers('--memfd', 'thp,8M', '--buffer', '12K,12K');
      t.equal('the machine gives others’ shmem no more huge pages than before', await enabled(), before);
      const [witness] = helper.buffers;
      t.ok('the memfd got a huge page', (helper.memfds[0]?.hugePages ?? 0) > 0, helper.memfds);
      const pages = pagesOf(await t.snapshot(helper.pid), witness?.inode ?? 0);
      if (witness) checkPfns(t, 'thp', pages.runs, witness);
      t.equal('folio', [pages.folios, pages.folioBytes, pages.runs[0]?.folioBytes], [1, 2 * MiB, 2 * MiB]);
      t.equal('references', [pages.pinReferences, pages.pageReferences], t.pageRefs ? [0, 3] : [1, 0]);
      const flags = pageFlags(pages.runs[0]?.pfn ?? 0);
      t.equal(
        'kpageflags says THP, not hugetlb',
        [(flags >> BigInt(KPF.thp)) & 1n, (flags >> BigInt(KPF.huge)) & 1n],
        [1n, 0n],
      );
    },
  },
  {
    name: '500 live buffers, all exact',
    boot: 'zones',
    async run(t) {
      const helper = await t.buffers('--memfd', 'shmem,16M', '--count', '500,8K', '--buffer', '4K,16K');
      t.equal('buffers made', helper.buffers.length, 500);
      const snapshot = await t.snapshot(helper.pid);
      t.equal('buffers listed', snapshot.resources.length, 500);
      const exact = helper.buffers.filter(witness => {
        const { same, of } = samePfns(pagesOf(snapshot, witness.inode).runs, witness);
        return same === 4 && of === 4;
      });
      t.equal('buffers whose four PFNs equal the program’s', exact.length, 500);
      t.equal(
        'nothing raced',
        snapshot.sources.filter(({ state }) => state === 'raced'),
        [],
      );
    },
  },
  {
    name: 'a buffer held by three processes, with a name',
    boot: 'zones',
    async run(t) {
      const helper = await t.buffers(
        '--memfd',
        'shmem,1M',
        '--name',
        'frame one',
        '--buffer',
        '0,64K',
        '--holders',
        '2',
      );
      const [witness] = helper.buffers;
      const pids = [helper.pid, ...helper.holders].sort((a, b) => a - b);
      t.equal('two more holders', pids.length, 3);
      for (const pid of pids) {
        const snapshot = await t.snapshot(pid);
        const resource = resourceOf(snapshot, witness?.inode ?? 0);
        t.equal(
          `from ${pid === helper.pid ? 'the maker' : 'a holder'}: holders`,
          resource.holders.map(h => h.pid).sort((a, b) => a - b),
          pids,
        );
        t.equal('name', resource.name, 'frame one');
        t.equal('exact pages', samePfns(pagesOf(snapshot, witness?.inode ?? 0).runs, witness as never), {
          same: 16,
          of: 16,
        });
      }
      const maker = resourceOf(await t.snapshot(helper.pid), witness?.inode ?? 0);
      const bufinfo = await t.sh(
        `awk '$6 == ${witness?.inode} { print $4 }' /sys/kernel/debug/dma_buf/bufinfo`,
      );
      t.equal('references as bufinfo counts them', maker.count, Number(bufinfo.trim()));
    },
  },
  {
    name: 'a hole punched under a live buffer: exactly those pages are disconnected',
    boot: 'zones',
    async run(t) {
      const helper = await t.buffers(
        ...['--memfd', 'shmem,4M', '--buffer', '12K,1M', '--memfd', 'huge2m,8M', '--buffer', '1M,4M'],
      );
      const [shmem, huge] = helper.buffers;
      if (!shmem || !huge) throw new Error(`refused: ${JSON.stringify(helper.refused)}`);
      const lost = async (inode: number) => {
        const { runs } = pagesOf(await t.snapshot(helper.pid), inode);
        return perPage(runs, run => run.backing).flatMap((backing, i) =>
          backing === 'connected' ? [] : [[i, backing]],
        );
      };
      t.equal('shmem: none before', await lost(shmem.inode), []);
      t.equal('hugetlb: none before', await lost(huge.inode), []);
      const before = pagesOf(await t.snapshot(helper.pid), shmem.inode).runs;
      // Pages 10 to 13 of the buffer lie 12 KiB further in the memfd.
      await helper.command(`punch ${(10 + 3) * 4096} ${4 * 4096} 0`);
      const expected = [10, 11, 12, 13].map(i => [i, 'disconnected']);
      t.equal('shmem, punched and not touched again', await lost(shmem.inode), expected);
      await helper.command(`touch ${(10 + 3) * 4096} ${4 * 4096} 9 0`);
      t.equal('shmem, touched again', await lost(shmem.inode), expected);
      const after = pagesOf(await t.snapshot(helper.pid), shmem.inode).runs;
      t.equal(
        'the buffer keeps the pages it had',
        perPage(after, (run, i) => run.pfn + i),
        perPage(before, (run, i) => run.pfn + i),
      );
      const [now] = await helper.pfns();
      t.equal('the program sees other pages at 4 of 256', samePfns(after, now as never), {
        same: 252,
        of: 256,
      });
      t.equal(
        'where those pages came from is still said',
        perPage(after, (run, i) => (run.ramOffset ?? -1) + 4096 * i).slice(10, 14),
        [13, 14, 15, 16].map(page => page * 4096),
      );

      await helper.command(`punch ${2 * MiB + 8192} 4096 1`);
      t.equal('hugetlb: 4 KiB inside a huge page only zeroes it', await lost(huge.inode), []);
      await helper.command(`punch ${2 * MiB} ${2 * MiB} 1`);
      await helper.command(`touch ${2 * MiB} 4096 9 1`);
      // The buffer is [1 MiB, 5 MiB): its huge page [2 MiB, 4 MiB) is pages 256 to 767.
      t.equal(
        'hugetlb: a whole huge page',
        (await lost(huge.inode)).map(([i]) => i),
        Array.from({ length: 512 }, (_, i) => 256 + i),
      );
    },
  },
  {
    name: 'reading touches no hole',
    boot: 'zones',
    async run(t) {
      const helper = await t.buffers('--memfd', 'shmem,8M', '--memfd', 'shmem,8M,hole', '--buffer', '0,64K');
      const [, hole] = helper.memfds;
      const blocks = () => allocatedBlocks(helper.pid, hole?.fd ?? -1);
      const before = blocks();
      const pages = pagesOf(await t.snapshot(helper.pid), helper.buffers[0]?.inode ?? 0);
      t.equal('CREATE filled the holes it needed', before, 64 * 2);
      t.equal('the snapshot filled none', blocks(), before);
      t.equal(
        'pages that the program never mapped are connected',
        [...new Set(pages.runs.map(run => run.backing))],
        ['connected'],
      );
      t.equal(
        '16 pages, all placed in the memfd',
        perPage(pages.runs, (run, i) => (run.ramOffset ?? -1) + 4096 * i),
        Array.from({ length: 16 }, (_, i) => i * 4096),
      );
    },
  },
  {
    name: 'a buffer in a 1 GiB page, on two nodes',
    boot: 'gigantic',
    async run(t) {
      const helper = await t.buffers(
        ...['--memfd', 'huge1g,1G', '--buffer', '12K,1M', '--memfd', 'shmem,64M', '--buffer', '0,32M'],
      );
      const [gigantic, shmem] = helper.buffers;
      if (!gigantic || !shmem) throw new Error(`refused: ${JSON.stringify(helper.refused)}`);
      const snapshot = await t.snapshot(helper.pid);
      const pages = pagesOf(snapshot, gigantic.inode);
      checkPfns(t, '1 GiB page', pages.runs, gigantic);
      t.equal('folio', [pages.folios, pages.folioBytes, pages.runs[0]?.folioBytes], [1, 1 << 30, 1 << 30]);
      t.equal('offset in the memfd', pages.runs[0]?.ramOffset, 12288);
      checkPfns(t, 'shmem', pagesOf(snapshot, shmem.inode).runs, shmem);
      for (const [what, { inode }] of [
        ['1 GiB page', gigantic],
        ['shmem', shmem],
      ] as const) {
        checkPlaces(t, what, pagesOf(snapshot, inode).runs);
        t.ok(
          `${what}: node and zone known`,
          pagesOf(snapshot, inode).runs.every(run => run.node !== null && run.zone !== null),
          pagesOf(snapshot, inode).runs[0],
        );
      }
      t.equal('the kernel has two nodes', [...new Set(snapshot.host.zones?.map(zone => zone.node))], [0, 1]);
    },
  },
];
