import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RULES } from '../model/hazards/index.ts';
import { fromSnapshot } from '../model/run-columns.ts';
import type { Finding, NotChecked, Snapshot } from '../model/snapshot.ts';
import { deflater } from '../sampler/session-bytes.ts';
import { withHolder } from '../test/holder.ts';
import { expectPrintable } from '../test/printed.ts';
import { sessionOf } from '../test/sessions.ts';
import { hostileTexts, poisoned, someSnapshot } from '../test/snapshots.ts';
import { type Examined, exitCodeOf } from './doctor.ts';
import { compare } from './since.ts';
import { coloursFor } from './text/colours.ts';
import { examinedText } from './text/doctor.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const program = join(root, 'dist/cli/pinscope.js');
const dir = mkdtempSync(join(tmpdir(), 'pinscope-doctor-'));
afterAll(() => rmSync(dir, { recursive: true }));
beforeAll(() => {
  spawnSync(process.execPath, [join(root, 'build/setup.mjs')]);
}, 120_000);

const run = (...args: readonly string[]) =>
  spawnSync(process.execPath, [program, 'doctor', ...args], { encoding: 'utf8', cwd: root });

const finding = (change: Partial<Finding> = {}): Finding => ({
  ...{
    rule: 'pin-in-cma',
    severity: 'warning',
    resource: 7,
    title: '1 of 2 pages pinned',
    explanation: 'E.',
  },
  ...{ remedy: 'R.', evidence: [], reference: 'docs/HAZARDS.md#pin-in-cma' },
  ...change,
});
const open = (rule: string): NotChecked => ({ rule, because: 'kernel-memory is denied', grant: 'root' });
const examined = (
  findings: readonly Finding[],
  notChecked: readonly NotChecked[] = [],
  change: Partial<Examined> = {},
): Examined => ({
  rules: RULES.map(({ id }) => id),
  judged: [{ sample: fromSnapshot(someSnapshot()), findings, notChecked, compared: null }],
  ...{ unread: [], hidden: 0, earlier: null },
  ...change,
});

describe('the exit code', () => {
  const error = finding({ severity: 'error' });
  const info = finding({ severity: 'info' });
  test.each<[string, Examined, number]>([
    ['nothing found', examined([]), 0],
    ['information alone', examined([info]), 0],
    ['a warning', examined([finding(), info]), 1],
    ['a warning beside what was not checked', examined([finding()], [open('disconnected')]), 1],
    ['an error beside a warning', examined([finding(), error]), 2],
    ['an error beside what was not checked', examined([error], [open('disconnected')]), 2],
    ['nothing, and not checked', examined([], [open('disconnected')]), 3],
    ['information, and not checked', examined([info], [open('disconnected')]), 3],
    ['a process that could not be read', examined([], [], { unread: ['process 1 cannot be read'] }), 3],
    ['processes that hide their files', examined([], [], { hidden: 3 }), 3],
    ['no process at all', examined([], [], { judged: [] }), 0],
  ])('%s', (_, all, code) => {
    expect(exitCodeOf(all, [])).toBe(code);
  });
  test('a rule that needs a past counts where there was one, or where it was asked for', () => {
    const table = [{ id: 'leak', needs: ['pages', 'past'] }];
    const alone = examined([], [open('leak')]);
    expect(exitCodeOf(alone, [], table)).toBe(0);
    expect(exitCodeOf(alone, ['leak'], table)).toBe(3);
    expect(exitCodeOf(examined([], [open('leak'), open('disconnected')]), [], table)).toBe(3);
    const earlier = {
      ...{ file: 'f', target: { pid: 1, startTime: '1' }, samples: 1, from: '', to: '' },
      ...{ findings: [], notChecked: [] },
    };
    expect(exitCodeOf({ ...alone, earlier }, [], table)).toBe(3);
  });
});

describe('new and gone', () => {
  const then = [finding(), finding({ resource: 8 }), finding({ rule: 'remote-node' })];
  test('by rule and resource; of a rule that was not checked nothing is gone', () => {
    const now = [finding({ title: 'other pages' }), finding({ resource: 9 })];
    const { isNew, gone } = compare({ findings: then }, now, [open('remote-node')]);
    expect(now.map(isNew)).toEqual([false, true]);
    expect(gone).toEqual([then[1]]);
  });
});

describe('text', () => {
  const printed = (all: Examined): string => {
    const text = examinedText(all, coloursFor({}));
    expectPrintable(text);
    return text;
  };
  test('findings in their order, then what was not checked, then the sum', () => {
    const evidence = [{ source: 's', field: 'f', value: 'v', recheck: 'sudo cat /proc/1/maps' }];
    const text = printed(
      examined(
        [
          finding({ rule: 'disconnected', severity: 'error', evidence }),
          finding(),
          finding({ severity: 'info', title: 'known' }),
        ],
        [open('remote-node')],
      ),
    );
    expect(text.match(/^(process|ERROR|WARNING|INFO|Not checked|\d+ error)/gm)).toEqual([
      'process',
      'ERROR',
      'WARNING',
      'INFO',
      'Not checked',
      '1 error',
    ]);
    expect(text).toContain(' s, f: v\n             sudo cat /proc/1/maps\n');
    expect(
      text.endsWith('\n1 error, 1 warning, 1 for information; 1 rule could not look at everything.\n'),
    ).toBe(true);
  });
  test('what is new is marked, what is gone is told, with the end of its buffer', () => {
    const then = [finding({ resource: 8 })];
    const now = [finding()];
    const [judged] = examined(now).judged;
    if (!judged) throw new Error('none');
    const text = printed(
      examined([], [], { judged: [{ ...judged, compared: compare({ findings: then }, now, []) }] }),
    );
    expect(text).toContain('\n         new: dma-buf 7: 1 of 2 pages pinned.\n');
    expect(text).toContain(
      '\nGone since the session\n  pin-in-cma: dma-buf 8 (is no more): 1 of 2 pages pinned\n',
    );
  });
  test('none: only the rules that were asked for are named', () => {
    expect(printed(examined([], [], { rules: ['pin-in-cma'] }))).toContain(
      'None of 1 rule fired: pin-in-cma.',
    );
  });
  test('no process', () => {
    expect(printed(examined([], [], { judged: [], hidden: 2 }))).toMatch(
      /^No QEMU runs here .*\n\nNot looked at\n {2}2 processes hide their files/,
    );
  });
  test.each(hostileTexts)('a hostile text %# leaves the terminal whole', hostile => {
    const snapshot = someSnapshot({ findings: [finding()], notChecked: [open('x')] });
    const { findings, notChecked, target } = poisoned(snapshot, ['severity', 'takenAt', 'schema'], hostile);
    const sample = fromSnapshot({ ...snapshot, target });
    printed(
      examined([], [], { judged: [{ sample, findings, notChecked, compared: null }], unread: [hostile] }),
    );
  });
});

describe('the program', () => {
  test.each([
    [['--rule', 'nothing'], /^pinscope: no rule is called nothing; the rules are: disconnected, /],
    [['--explain', 'nothing'], /^pinscope: no rule is called nothing; the rules are: disconnected, /],
    [['--nothing'], /unknown option '--nothing'/],
    [['--pid', '4194305'], /^pinscope: there is no process 4194305/],
    [['--since', '/nowhere.pinscope'], /^pinscope: \/nowhere.pinscope cannot be read/],
    [['--grant', 'pages'], /give --pid or --name/],
  ])('%j could not check anything: 3 and a sentence', (args, words) => {
    const { status, stdout, stderr } = run(...args);
    expect([status, stdout]).toEqual([3, '']);
    expect(stderr).toMatch(words);
  });

  test('--help tells of its own codes, and of them alone', () => {
    const { status, stdout } = run('--help');
    expect(status).toBe(0);
    expect(stdout.match(/Exit status/g)).toHaveLength(1);
    expect(stdout).toMatch(/Exit status, unlike .*\n {2}0 .*\n {2}1 .*\n {2}2 .*\n {2}3 .*\n/);
    expectPrintable(stdout);
  });

  test('a process without dma-bufs: every rule checked, 0, the plain form', async () => {
    await withHolder('shmem', 4096, async ({ pid }) => {
      const { status, stdout } = run('--pid', String(pid), '--json');
      expect(status).toBe(0);
      expect(JSON.parse(stdout)).toEqual({ schema: 'pinscope.doctor/1', findings: [], notChecked: [] });
      const text = run('--pid', String(pid));
      expect(text.status).toBe(0);
      expectPrintable(text.stdout);
    });
  });

  /** A program of QEMU's name that maps a memfd private, with a blob device on its command line: the hazard itself. */
  async function withPrivateRam(use: (pid: number) => Promise<void> | void): Promise<void> {
    const file = join(dir, 'qemu-system-x86_64');
    const script = join(dir, 'ram.py');
    copyFileSync(realpathSync('/usr/bin/python3'), file);
    writeFileSync(
      script,
      `import mmap, os, sys
fd = os.memfd_create('memory-backend-memfd')
os.ftruncate(fd, 8192)
ram = mmap.mmap(fd, 8192, flags=mmap.MAP_PRIVATE)
print('ready', flush=True)
sys.stdin.read()
`,
    );
    const child = spawn(file, [script, '-device', 'virtio-gpu-pci,blob=true'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    try {
      for await (const line of createInterface({ input: child.stdout })) {
        expect(line).toBe('ready');
        await use(child.pid ?? -1);
        return;
      }
      throw new Error('it ended early');
    } finally {
      child.kill('SIGKILL');
      await exited;
    }
  }

  test('private memory of a QEMU: 2, with a shell line that shows it; of another rule 0; the list finds it', async () => {
    await withPrivateRam(pid => {
      const { status, stdout } = run('--pid', String(pid), '--json');
      expect(status).toBe(2);
      const { findings } = JSON.parse(stdout) as { findings: Finding[] };
      expect(findings.map(({ rule, severity }) => [rule, severity])).toContainEqual(['private-ram', 'error']);
      const [one] = findings.filter(({ rule }) => rule === 'private-ram');
      const recheck = one?.evidence[0]?.recheck.replace(/^sudo /, '') ?? '';
      expect(spawnSync('sh', ['-c', recheck], { encoding: 'utf8' }).stdout).toContain('memory-backend-memfd');

      expect(run('--pid', String(pid), '--rule', 'pin-in-cma').status).toBe(0);
      const text = run('--pid', String(pid), '--rule', 'private-ram');
      expect(text.status).toBe(2);
      expectPrintable(text.stdout);
      expect(text.stdout).toMatch(/^ERROR {4}private-ram$/m);

      const all = run('--json');
      expect(all.status).toBe(2);
      const list = JSON.parse(all.stdout) as {
        targets: { pid: number; comm: string; startTime: string }[];
        findings: (Finding & { pid: number })[];
      };
      expect(list.targets.find(target => target.pid === pid)?.comm).toBe('qemu-system-x86');
      expect(list.findings.filter(each => each.pid === pid).map(({ rule }) => rule)).toContain('private-ram');
    });
  });

  test('--explain: what a rule rests on here, and of a process with its verdict', async () => {
    const here = run('--explain', 'private-ram');
    expect(here.status).toBe(0);
    expectPrintable(here.stdout);
    expect(here.stdout).toContain('private-ram  error\n');
    expect(here.stdout).toContain('maps: depends on the process');
    await withPrivateRam(pid => {
      const { status, stdout } = run('--explain', 'private-ram', '--pid', String(pid));
      expect(status).toBe(2);
      expectPrintable(stdout);
      expect(stdout).toContain(`    maps: ok, /proc/${pid}/maps\n      sudo cat /proc/${pid}/maps\n`);
      expect(stdout).toMatch(/^ERROR {4}private-ram$/m);
      const document = JSON.parse(run('--explain', 'private-ram', '--pid', String(pid), '--json').stdout);
      expect(document).toMatchObject({
        ...{ schema: 'pinscope.rule/1', id: 'private-ram', severity: 'error', pid },
        inputs: [{ fact: 'ram', sources: [{ name: 'maps', state: 'ok' }] }],
      });
    });
  });

  test('--since: the session is of that process or refused, and what it had is gone', async () => {
    const path = join(dir, 'before.pinscope');
    await withHolder('shmem', 4096, async ({ pid }) => {
      const now = JSON.parse(
        spawnSync(process.execPath, [program, 'snapshot', '--pid', String(pid), '--json'], {
          encoding: 'utf8',
        }).stdout,
      ) as Snapshot;
      const lost = someSnapshot().resources.map(resource => ({
        ...resource,
        pages: resource.pages && {
          ...resource.pages,
          runs: resource.pages.runs.map(each => ({ ...each, backing: 'disconnected' as const })),
        },
      }));
      writeFileSync(path, await sessionOf(deflater, now, { ...now, resources: lost }));
      const { status, stdout } = run('--since', path, '--json');
      expect(status).toBe(0);
      const document = JSON.parse(stdout);
      expect(document.since).toMatchObject({ file: path, samples: 2 });
      expect(document.since.gone.map((each: Finding) => [each.rule, each.resource])).toContainEqual([
        'disconnected',
        7,
      ]);
      const text = run('--since', path, '--pid', String(pid)).stdout;
      expectPrintable(text);
      expect(text).toMatch(/\nGone since the session\n(.*\n)* {2}disconnected: dma-buf 7 \(is no more\)/);

      const other = run('--since', path, '--pid', String(process.pid));
      expect([other.status, other.stdout]).toEqual([3, '']);
      expect(other.stderr).toContain(`has no sample of the process ${process.pid} that runs now`);
    });
  });
});
