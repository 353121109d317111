/** What an ordinary user sees, and what a locked-down kernel leaves. The terminal program is run as they would run it. */
import { copyFileSync } from 'node:fs';
import type { Snapshot } from '../../../model/snapshot.ts';
import type { RigCase } from '../case.ts';
import { pagesOf, samePfns } from '../compare.ts';

const AS_USER = ['setpriv', '--reuid=1000', '--regid=1000', '--clear-groups', '--inh-caps=-all', '--'];

export const userCases: readonly RigCase[] = [
  {
    name: 'an ordinary user sees buffers, sizes, holders and ages; pages are denied with what would grant them',
    boot: 'zones',
    async run(t) {
      await t.sh('chmod 666 /dev/udmabuf');
      const helper = await t.buffersAs(
        AS_USER,
        '--memfd',
        'shmem,1M',
        '--name',
        'mine',
        '--buffer',
        '12K,64K',
        '--map',
      );
      const json = await t.pinscope(['snapshot', '--pid', String(helper.pid), '--json'], AS_USER);
      t.equal('exit code', json.code, 0);
      const snapshot = JSON.parse(json.stdout) as Snapshot;
      const [resource] = snapshot.resources;
      t.equal(
        'buffer',
        [snapshot.resources.length, resource?.sizeBytes, resource?.name, resource?.exporter, resource?.count],
        [1, 65536, 'mine', 'udmabuf', 2],
      );
      t.equal(
        'holder',
        resource?.holders.map(({ pid, fds, mappings }) => [pid, fds.length, mappings.length]),
        [[helper.pid, 1, 1]],
      );
      t.ok('age', resource?.createdAt !== null, resource);
      t.equal('pages are null', [resource?.pages, resource?.attachments], [null, null]);
      const kernel = snapshot.sources.find(({ name }) => name === 'kernel-memory');
      t.ok(
        'kernel memory is denied and a grant named',
        kernel?.state === 'denied' && /root/.test(kernel.grant ?? ''),
        kernel,
      );
      t.equal(
        'the era is known without rights',
        snapshot.host.kernel.udmabufEra,
        t.pageRefs ? 'page-refs' : 'folio-pins',
      );
      t.equal(
        'no pinned page is claimed for any block',
        [...new Set(snapshot.host.memoryBlocks?.map(({ pinnedPages }) => pinnedPages))],
        [null],
      );

      const text = await t.pinscope(['snapshot', '--pid', String(helper.pid)], AS_USER);
      t.ok('the text says so too', /pages +denied; needs root/.test(text.stdout) && text.code === 0, text);
      const list = await t.pinscope(['list'], AS_USER);
      t.ok(
        'the list shows the process',
        new RegExp(`^ *${helper.pid} +other .* 1 +64 KiB `, 'm').test(list.stdout),
        list,
      );
      const sources = await t.pinscope(['sources'], AS_USER);
      t.ok(
        'sources says what would grant pages',
        /kernel memory +denied/.test(sources.stdout) && /CAP_SYS_RAWIO/.test(sources.stdout),
        sources.stdout,
      );
      t.ok('sources says that PFNs are hidden', /pagemap PFNs +denied/.test(sources.stdout), sources.stdout);

      const others = await t.buffers('--memfd', 'shmem,1M', '--buffer', '0,64K');
      const denied = await t.pinscope(['snapshot', '--pid', String(others.pid)], AS_USER);
      t.ok(
        'another user’s process: no buffers are claimed, and why',
        denied.code === 0 && /denied/.test(denied.stdout),
        denied,
      );
    },
  },
  {
    name: 'the terminal program as root: exact pages as JSON, text in 100 columns',
    boot: 'zones',
    async run(t) {
      const helper = await t.buffers(
        '--memfd',
        'shmem,4M',
        '--buffer',
        '12K,1M',
        '--memfd',
        'huge2m,4M',
        '--buffer',
        '12K,1M',
      );
      const json = await t.pinscope(['snapshot', '--pid', String(helper.pid), '--json']);
      const snapshot = JSON.parse(json.stdout) as Snapshot;
      t.equal('schema and code', [snapshot.schema, json.code], ['pinscope.snapshot/1', 0]);
      for (const witness of helper.buffers) {
        t.equal(`buffer ${witness.index}`, samePfns(pagesOf(snapshot, witness.inode).runs, witness), {
          same: 256,
          of: 256,
        });
      }
      for (const args of [
        ['snapshot', '--pid', String(helper.pid)],
        ['snapshot', '--name', 'buffers', '--runs', 'all'],
        ['list'],
        ['sources'],
        ['--help'],
      ]) {
        const { code, stdout } = await t.pinscope(args);
        t.equal(`${args.join(' ')}: code`, code, 0);
        const wide = stdout.split('\n').filter(line => line.length > 100);
        t.ok(`${args.join(' ')}: at most 100 columns`, stdout.length > 0 && wide.length === 0, wide);
        t.ok(`${args.join(' ')}: no colour off a terminal`, !stdout.includes('\x1b'), stdout);
      }
      const one = await t.pinscope([
        'snapshot',
        '-p',
        String(helper.pid),
        '--resource',
        String(helper.buffers[1]?.inode),
        '--json',
      ]);
      t.equal(
        '--resource',
        (JSON.parse(one.stdout) as Snapshot).resources.map(({ inode }) => inode),
        [helper.buffers[1]?.inode],
      );
      for (const [args, code] of [
        [['snapshot', '--pid', '4194300'], 3],
        [['snapshot', '--name', 'nobody'], 3],
        [['snapshot', '--pid', 'x'], 2],
        [['snapshot'], 2],
        [['nothing'], 2],
      ] as const) {
        const result = await t.pinscope(args);
        t.equal(`${args.join(' ')}: code`, result.code, code);
        t.ok(
          `${args.join(' ')}: a sentence`,
          result.stderr.trim().length > 10 && !/\n\s+at /.test(result.stderr),
          result.stderr,
        );
      }
    },
  },
  {
    name: 'names with control characters leave the terminal whole',
    boot: 'zones',
    async run(t) {
      const evil = '\x1b[2J\x1b]0;t\x07a\nb\u202e';
      const program = `${t.dir}/\x1b[31m\na`;
      copyFileSync(t.helper, program);
      const helper = await t.buffersBy([program], '--memfd', 'shmem,1M', '--name', evil, '--buffer', '0,64K');
      const text = await t.pinscope(['snapshot', '--pid', String(helper.pid)]);
      const list = await t.pinscope(['list']);
      for (const [what, { stdout }] of [
        ['snapshot', text],
        ['list', list],
      ] as const) {
        const control = [...stdout].filter(c => (c < ' ' && c !== '\n') || c === '\x7f' || c === '\u202e');
        t.ok(`${what}: no control character`, control.length === 0, JSON.stringify(stdout));
      }
      t.ok('the name is shown with its escapes', text.stdout.includes('\\x1b[2J'), text.stdout);
      const json = await t.pinscope(['snapshot', '--pid', String(helper.pid), '--json']);
      t.equal('JSON has the name as it is', (JSON.parse(json.stdout) as Snapshot).resources[0]?.name, evil);
    },
  },
  {
    name: 'lockdown=confidentiality: kernel memory denied with that reason, all else shown',
    boot: 'lockdown',
    async run(t) {
      const helper = await t.buffers('--memfd', 'shmem,1M', '--buffer', '12K,64K', '--map');
      const snapshot = await t.snapshot(helper.pid);
      const [resource] = snapshot.resources;
      t.equal('buffer', [resource?.sizeBytes, resource?.pages, resource?.count], [65536, null, 2]);
      t.equal('attachments from bufinfo', resource?.attachments, []);
      const kernel = snapshot.sources.find(({ name }) => name === 'kernel-memory');
      t.ok(
        'the reason is lockdown',
        kernel?.state === 'denied' &&
          kernel.detail.includes('confidentiality') &&
          /lockdown/.test(kernel.grant ?? ''),
        kernel,
      );
      const sources = await t.pinscope(['sources']);
      t.ok('sources says it too', /confidentiality/.test(sources.stdout), sources.stdout);
    },
  },
];
