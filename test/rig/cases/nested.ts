/** The thread's own command line, scaled: a real guest boots in a real QEMU, and its console's framebuffer becomes a blob. */
import { connect } from 'node:net';
import { parseGpa2hpa } from '../../../model/qemu/addresses.ts';
import type { RigCase } from '../case.ts';
import { pagesOf, perPage, pfnsOf } from '../compare.ts';
import { framebufferBytes, startNestedGuest } from '../guest/nested.ts';

export const nestedCases: readonly RigCase[] = [
  {
    name: 'a booted guest: one resource of 2025 pages, found while it runs, monitor free and taken',
    boot: 'nested',
    async run(t) {
      const guest = startNestedGuest({ dir: t.dir, name: 'nested', testMonitor: true });
      t.atEnd(() => guest.kill());
      const { inode } = await guest.waitForBuffer();
      const free = await t.snapshot(guest.pid);
      t.equal(
        'resources',
        free.resources.map(({ sizeBytes, exporter }) => [sizeBytes, exporter]),
        [[framebufferBytes, 'udmabuf']],
      );
      const pages = pagesOf(free, inode);
      t.equal('pages', [pages.count, pfnsOf(pages.runs).length, pages.source], [2025, 2025, 'kernel-memory']);
      t.equal('monitor', free.target.qmp, 'ok');
      t.equal('backing', [...new Set(pages.runs.map(run => run.backing))], ['connected']);
      t.ok(
        'every run has its guest address',
        pages.runs.every(run => run.gpa !== null),
        pages.runs[0],
      );
      const gpas = perPage(pages.runs, (run, i) => Number(run.gpa) + 4096 * i);
      t.equal('no guest page twice', new Set(gpas).size, 2025);
      const wrong: unknown[] = [];
      for (let i = 0; i < 2025; i += 97) {
        const reply = parseGpa2hpa(await guest.hmp(`gpa2hpa 0x${(gpas[i] ?? 0).toString(16)}`));
        const theirs = reply.state === 'refused' ? reply.detail : Number(reply.address) / 4096;
        if (theirs !== pfnsOf(pages.runs)[i]) wrong.push({ page: i, ours: pfnsOf(pages.runs)[i], theirs });
      }
      t.equal('21 sampled pages agree with gpa2hpa', wrong, []);
      const status = (await guest.qmp('query-status')) as { running: boolean };
      t.equal('the guest runs', status.running, true);

      const socket = connect(guest.qmpSocket);
      t.atEnd(async () => void socket.destroy());
      await new Promise<void>((resolve, reject) => {
        socket.once('data', () => resolve());
        socket.once('error', reject);
      });
      const holder = connect(guest.testQmpSocket);
      t.atEnd(async () => void holder.destroy());
      await new Promise<void>((resolve, reject) => {
        holder.once('data', () => resolve());
        holder.once('error', reject);
      });
      const taken = await t.snapshot(guest.pid);
      t.equal('monitor, taken', taken.target.qmp, 'busy');
      t.equal('the same pages', pfnsOf(pagesOf(taken, inode).runs), pfnsOf(pages.runs));
    },
  },
];
