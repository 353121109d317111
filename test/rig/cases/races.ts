/** Kernel lists that change and processes that end while they are read. */
import { spawn } from 'node:child_process';
import type { RigCase } from '../case.ts';
import { pagesOf, samePfns } from '../compare.ts';

export const raceCases: readonly RigCase[] = [
  {
    name: 'nothing races on a host that stands still: 20 snapshots of 64 buffers',
    boot: 'numa',
    async run(t) {
      const helper = await t.buffers('--memfd', 'shmem,64M', '--count', '64', '--buffer', '0,1M');
      let exact = 0;
      for (let i = 0; i < 20; i++) {
        const snapshot = await t.snapshot(helper.pid);
        exact += helper.buffers.filter(witness => {
          const pages = snapshot.resources.find(({ inode }) => inode === witness.inode)?.pages;
          return pages && samePfns(pages.runs, witness).same === 256;
        }).length;
      }
      t.equal('buffers whose 256 PFNs were read and equal', exact, 20 * 64);
    },
  },
  {
    name: 'buffers that come and go elsewhere: ours stay exact, what raced is said',
    boot: 'numa',
    async run(t) {
      const helper = await t.buffers('--memfd', 'shmem,4M', '--count', '20,8K', '--buffer', '12K,64K');
      const churn = spawn(
        '/bin/bash',
        [
          '-c',
          `while :; do ${t.root}/dist/rig/buffers --memfd shmem,1M --count 40,4K --buffer 0,16K </dev/null >/dev/null; done`,
        ],
        { detached: true },
      );
      const ended = new Promise(resolve => churn.once('close', resolve));
      t.atEnd(async () => {
        if (churn.pid) process.kill(-churn.pid, 'SIGKILL');
        await ended;
      });
      let exact = 0;
      let wrong = 0;
      let unread = 0;
      let unexplained = 0;
      for (let i = 0; i < 15; i++) {
        const snapshot = await t.snapshot(helper.pid);
        let missing = 0;
        for (const witness of helper.buffers) {
          const resource = snapshot.resources.find(({ inode }) => inode === witness.inode);
          if (!resource?.pages) missing++;
          else if (samePfns(pagesOf(snapshot, witness.inode).runs, witness).same === 16) exact++;
          else wrong++;
        }
        unread += missing;
        const raced = snapshot.sources.some(
          ({ name, state }) => name === 'kernel-memory' && state === 'raced',
        );
        if (missing > 0 && !raced) unexplained++;
      }
      t.equal('wrong pages', wrong, 0);
      t.equal('snapshots with pages missing and no word of it', unexplained, 0);
      t.ok('nearly all were read', exact >= 250, { exact, unread });
    },
  },
  {
    name: 'a process that ends while it is read',
    boot: 'numa',
    async run(t) {
      const states = new Map<string, number>();
      for (let i = 0; i < 12; i++) {
        const helper = await t.buffers('--memfd', 'shmem,4M', '--count', '20,8K', '--buffer', '12K,64K');
        const snapshot = t.sampler.snapshot(helper.pid);
        await new Promise(resolve => setTimeout(resolve, i * 20));
        process.kill(helper.pid, 'SIGKILL');
        const reading = await snapshot;
        states.set(reading.state, (states.get(reading.state) ?? 0) + 1);
        if (reading.state === 'ok') {
          for (const witness of helper.buffers) {
            const pages = reading.value.resources.find(({ inode }) => inode === witness.inode)?.pages;
            if (pages) t.equal('what was read is right', samePfns(pages.runs, witness), { same: 16, of: 16 });
          }
        }
      }
      t.ok(
        'each is ok or raced',
        [...states.keys()].every(state => state === 'ok' || state === 'raced'),
        [...states],
      );
      t.ok('some did end meanwhile', (states.get('raced') ?? 0) > 0, [...states]);
    },
  },
  {
    name: 'a pid that another process has now',
    boot: 'numa',
    async run(t) {
      const helper = await t.buffers('--memfd', 'shmem,1M', '--buffer', '0,64K');
      const { target } = await t.snapshot(helper.pid);
      await helper.quit();
      const reused = await t.sh(
        `echo ${helper.pid - 1} > /proc/sys/kernel/ns_last_pid; sleep 300 >/dev/null 2>&1 & echo $!`,
      );
      t.equal('the pid is in use again', Number(reused.trim()), helper.pid);
      const reading = await t.sampler.snapshot(helper.pid, BigInt(target.startTime));
      t.equal('it is raced, not data', reading.state, 'raced');
      await t.sh(`kill ${helper.pid}`);
    },
  },
];
