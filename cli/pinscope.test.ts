import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { FIELDS } from '../model/filter/fields.ts';
import { evaluate } from '../model/hazards/index.ts';
import type { ProcessList } from '../model/process-list.ts';
import { fromSnapshot } from '../model/run-columns.ts';
import type { Finding, Snapshot } from '../model/snapshot.ts';
import { eventually } from '../test/eventually.ts';
import { withHolder } from '../test/holder.ts';
import { isRoot, lacks } from '../test/need.ts';
import { expectPrintable } from '../test/printed.ts';
import { damagedCopy } from '../test/sessions.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const program = join(root, 'dist/cli/pinscope.js');

const RECORDED = 'renderer/public/recorded.pinscope';

beforeAll(() => {
  const setup = spawnSync(process.execPath, [join(root, 'build/setup.mjs')], { encoding: 'utf8' });
  expect(setup.stderr.replace(/^npm warn.*\n/gm, '')).not.toContain('pinscope setup:');
  expect(existsSync(program)).toBe(true);
});

const environment = { ...process.env, TERM: 'xterm', FORCE_COLOR: undefined, NO_COLOR: undefined };
function run(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    encoding: 'utf8',
    cwd: root,
    env: environment,
  });
  return { status, stdout, stderr };
}
const sh = (script: string, env: Record<string, string> = {}) =>
  spawnSync('sh', ['-c', script, 'sh', process.execPath, program], {
    encoding: 'utf8',
    env: { ...environment, ...env },
  });

describe('help', () => {
  test.each([
    [[]],
    [['list']],
    [['snapshot']],
    [['sources']],
    [['serve']],
    [['record']],
    [['show']],
    [['start']],
    [['broker']],
    [['broker', 'status']],
  ])('%j --help', args => {
    const { status, stdout, stderr } = run(...args, '--help');
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toContain('Usage: pinscope');
    expect(stdout).toMatch(/Exit status:\n {2}0 .*\n {2}1 .*\n {2}2 .*\n {2}3 .*\n {2}4 .*\n {2}5 .*\n/);
    expect(stdout.match(/Exit status:/g)).toHaveLength(1);
    expectPrintable(stdout);
  });
  test('each command is told in a line', () => {
    for (const name of [
      'list',
      'snapshot',
      'doctor',
      'record',
      'show',
      'sources',
      'serve',
      'broker',
      'start',
    ]) {
      expect(run('--help').stdout).toMatch(new RegExp(`^ {2}${name} .*[a-z]{4}`, 'm'));
    }
  });
  test('snapshot --help tells of filters, with every field of them', () => {
    const { stdout } = run('snapshot', '--help');
    const [, list = ''] = /Fields are ([^.]*)\./.exec(stdout) ?? [];
    expect(list.split(/,\s+/)).toEqual(FIELDS.map(({ id }) => id));
  });
  test('--version is that of the package', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    expect(run('--version')).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
  });
});

describe('wrong usage ends with 2 and a sentence', () => {
  test.each([
    [[], /Usage: pinscope/],
    [['nothing'], /unknown command 'nothing'/],
    [['--nothing'], /unknown option '--nothing'/],
    [['list', '--nothing'], /unknown option '--nothing'/],
    [['list', '\x1b[2J\x9b'], /too many arguments/],
    [['list', '--\x1b[2J\x9b'], /unknown option '--\\x1b\[2J\\x9b'/],
    [['list', '--watch', '0'], /from 0\.1 to 86400 seconds/],
    [['list', '--watch', 'soon'], /from 0\.1 to 86400 seconds/],
    [['list', '--watch', 'Infinity'], /from 0\.1 to 86400 seconds/],
    [['snapshot'], /^pinscope: which process\? Give --pid or --name/],
    [['snapshot', '--pid'], /argument missing/],
    [['snapshot', '--pid', 'x'], /whole number/],
    [['snapshot', '--pid', '-1'], /whole number/],
    [['snapshot', '--pid', '1e3'], /whole number/],
    [['snapshot', '--pid', '1', '--name', 'x'], /cannot be used with/],
    [['snapshot', '--pid', '1', '--runs', 'many'], /whole number/],
    [
      ['snapshot', '--pid', '1', '--filter', 'zone = x'],
      /^pinscope: --filter: .*==\?\n {2}zone = x\n {7}\^\n$/,
    ],
    [['snapshot', '--pid', '1', '--filter', 'x', '--resource', '1'], /cannot be used with/],
    [['sources', '--watch'], /unknown option '--watch'/],
    [['record'], /^pinscope: which process\? Give --pid or --name/],
    [['record', '--pid', '1', '--interval', '0'], /from 0\.1 to 86400 seconds/],
    [['record', '--pid', '1', '--duration', 'long'], /from 1 to 31536000 seconds/],
    [['show'], /missing required argument 'file'/],
    [['show', RECORDED, '--redact'], /needs both: --redact --output FILE/],
    [['show', RECORDED, '--output', 'x'], /needs both: --redact --output FILE/],
    [['show', RECORDED, '--info', '--at', '#1'], /cannot be used with/],
    [['show', RECORDED, '--at', '#0'], /there is no sample #0: the file has #1 to #\d+/],
    [['show', RECORDED, '--at', '\x1b[2J'], /\\x1b\[2J is neither a sample like #41 nor a time/],
  ])('%j', (args, words) => {
    const { status, stdout, stderr } = run(...args);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(words);
    expect(stderr.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
    expect(stderr).not.toMatch(/^ +at /m);
  });
});

describe.skipIf(existsSync('/usr/libexec/pinscope'))('the broker, where it is not installed', () => {
  test('status says so, and what would be installed', () => {
    const { status, stdout, stderr } = run('broker', 'status');
    expect([status, stderr]).toEqual([5, '']);
    expect(stdout).toMatch(/^missing: \/usr\/libexec\/pinscope is not there\n/);
    expect(stdout.match(/ {2}\d+ bytes, root:root, mode (755|644)\n {2}sha256 [0-9a-f]{64}\n/g)).toHaveLength(
      2,
    );
    expect(stdout).toMatch(/ {2}sudo rm -rf .*\n$/);
    expectPrintable(stdout);
    const { state, plan } = JSON.parse(run('broker', 'status', '--json').stdout);
    expect([state, plan.files.length]).toEqual(['missing', 2]);
  });

  test('--grant takes a level and no other word', () => {
    const { status, stderr } = run('snapshot', '--pid', '1', '--grant', 'all');
    expect([status, stderr]).toEqual([2, expect.stringContaining('kernel-memory, pages')]);
  });
});

describe('no such process ends with 3', () => {
  test.each([
    [
      ['snapshot', '--pid', '4194305'],
      'pinscope: there is no process 4194305; pinscope list shows the ones there are\n',
    ],
    [['snapshot', '--pid', '0'], 'pinscope: there is no process 0; pinscope list shows the ones there are\n'],
    [
      ['snapshot', '--pid', '999999999999999', '--json'],
      'pinscope: there is no process 999999999999999; pinscope list shows the ones there are\n',
    ],
    [
      ['snapshot', '--name', 'a\x1b[2J\nb\\'],
      'pinscope: no QEMU and no holder of a udmabuf is called a\\x1b[2J\\nb\\\\; pinscope list shows the names\n',
    ],
  ])('%j', (args, stderr) => {
    expect(run(...args)).toEqual({ status: 3, stdout: '', stderr });
  });
  test('a dma-buf that the process does not hold', async () => {
    await withHolder('shmem', 4096, async ({ pid }) => {
      expect(run('snapshot', '--pid', String(pid), '--resource', '12')).toMatchObject({
        status: 3,
        stderr: `pinscope: process ${pid} holds no dma-buf 12 that we can see\n`,
      });
    });
  });
});

describe('list', () => {
  test('JSON', () => {
    const { status, stdout, stderr } = run('list', '--json');
    expect([status, stderr]).toEqual([0, '']);
    const list = JSON.parse(stdout) as ProcessList;
    expect(list.schema).toBe('pinscope.processes/1');
    expect(Object.keys(list)).toEqual(['schema', 'takenAt', 'processes', 'hiddenProcesses']);
    for (const row of list.processes) {
      expect(Object.keys(row).sort()).toEqual(
        [
          ...['pid', 'startTime', 'comm', 'uid', 'user', 'kind', 'name', 'buffers', 'bufferBytes', 'oldest'],
        ].sort(),
      );
    }
  });
  test('text', () => {
    const { status, stdout } = run('list');
    expect(status).toBe(0);
    expectPrintable(stdout);
  });
  test('a QEMU that runs here is in it, and can be named', async () => {
    // Any program of that name: exec -a would not do, as the file counts.
    const dir = mkdtempSync(join(tmpdir(), 'pinscope-cli-'));
    const file = join(dir, 'qemu-system-none');
    copyFileSync('/bin/sleep', file);
    const child = spawn(file, ['600'], { argv0: file, stdio: 'ignore' });
    const exited = once(child, 'exit');
    try {
      await once(child, 'spawn');
      const { processes } = JSON.parse(run('list', '--json').stdout) as ProcessList;
      expect(processes.find(({ pid }) => pid === child.pid)).toMatchObject({ kind: 'qemu', buffers: 0 });
      const named = run('snapshot', '--name', 'qemu-system-none', '--json');
      expect(named.status).toBe(0);
      expect((JSON.parse(named.stdout) as Snapshot).target.pid).toBe(child.pid);
    } finally {
      child.kill('SIGKILL');
      await exited;
      rmSync(dir, { recursive: true });
    }
  });
});

test('snapshot of a process without dma-bufs, as text and as JSON', async () => {
  await withHolder('shmem', 8192, async ({ pid, inode }) => {
    const text = run('snapshot', '--pid', String(pid));
    expect([text.status, text.stderr]).toEqual([0, '']);
    expectPrintable(text.stdout);
    expect(text.stdout).toContain('This process holds no dma-buf.');
    expect(text.stdout).toContain(`memfd ${inode}, 8 KiB in 4 KiB pages`);
    const json = run('snapshot', '--pid', String(pid), '--json');
    expect(json.status).toBe(0);
    expect(JSON.parse(json.stdout)).toMatchObject({ schema: 'pinscope.snapshot/1', target: { pid } });
    const filtered = run('snapshot', '--pid', String(pid), '--json', '--filter', 'zone == Movable');
    expect(filtered.status).toBe(0);
    expect(JSON.parse(filtered.stdout)).toMatchObject({
      schema: 'pinscope.snapshot/1',
      filter: { text: 'zone == Movable', shown: 0, of: 0, undecided: 0 },
    });
  });
});

test('sources', () => {
  const text = run('sources');
  expect(text.status).toBe(0);
  expectPrintable(text.stdout);
  expect(JSON.parse(run('sources', '--json').stdout)).toMatchObject({ schema: 'pinscope.sources/1' });
});

const asUser = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all', '--'];
const canSwitch =
  isRoot &&
  spawnSync('sh', ['-c', `${asUser.join(' ')} "$1" --version`, 'sh', process.execPath]).status === 0;
describe.skipIf(lacks('root, setpriv, and a Node that other users may run', canSwitch))(
  'an ordinary user',
  () => {
    const runAs = (...args: readonly string[]) => {
      const [command = '', ...rest] = [...asUser, process.execPath, program, ...args];
      return spawnSync(command, rest, { encoding: 'utf8', cwd: '/', env: environment });
    };
    test('reads what is denied, and what would grant it', () => {
      const { sources } = JSON.parse(runAs('sources', '--json').stdout) as {
        sources: { name: string; state: string; grant?: string }[];
      };
      for (const name of ['kpageflags', 'kpagecount', 'pagetypeinfo', 'pagemap PFNs', 'other processes']) {
        expect(sources.find(source => source.name === name)).toMatchObject({
          state: 'denied',
          grant: expect.stringContaining('root'),
        });
      }
      expectPrintable(runAs('sources').stdout);
    });
    test('is not told that another’s process holds nothing', async () => {
      await withHolder('shmem', 4096, async ({ pid }) => {
        const { status, stdout } = runAs('snapshot', '--pid', String(pid));
        expect(status).toBe(0);
        expectPrintable(stdout);
        expect(stdout).toContain('Its dma-bufs are denied to this user');
        expect(stdout).toMatch(/^ {2}maps +denied /m);
      });
    });
    test('learns that processes are hidden', () => {
      expect(runAs('list').stdout).toMatch(/of other users could not be looked into; root would see more/);
      expect((JSON.parse(runAs('list', '--json').stdout) as ProcessList).hiddenProcesses).toBeGreaterThan(0);
    });
  },
);

describe('output', () => {
  test('a reader that goes away is no failure', () => {
    const { stdout, stderr } = sh('{ "$1" "$2" sources --json; echo "status $?" >&2; } | head -n 1');
    expect(stdout).toBe('{\n');
    expect(stderr).toBe('status 0\n');
  });
  test('nor is one that is gone before anything is written', () => {
    expect(sh('{ sleep 0.3; "$1" "$2" sources; echo "status $?" >&2; } | true').stderr).toBe('status 0\n');
  });
  test('no colour off a terminal', () => {
    for (const args of [['list'], ['sources'], ['--help']]) expect(run(...args).stdout).not.toContain('\x1b');
  });
  test('--watch --json prints a document a line until it is ended', async () => {
    const child = spawn(process.execPath, [program, 'list', '--json', '--watch', '0.1'], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: environment,
    });
    const exited = once(child, 'close');
    let text = '';
    child.stdout.setEncoding('utf8').on('data', chunk => {
      text += chunk;
      if (text.split('\n').length > 3) child.kill('SIGINT');
    });
    expect((await exited)[0]).toBe(0);
    const lines = text.trimEnd().split('\n');
    expect(lines.length).toBeGreaterThanOrEqual(3);
    for (const line of lines) expect(JSON.parse(line)).toMatchObject({ schema: 'pinscope.processes/1' });
  });
  test('a watched process that exits ends the watch with 4 or 3', async () => {
    const sleeper = spawn('sleep', ['600'], { stdio: 'ignore' });
    const gone = once(sleeper, 'exit');
    const child = spawn(
      process.execPath,
      [program, 'snapshot', '-p', String(sleeper.pid), '--json', '-w', '0.1'],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: environment,
      },
    );
    const exited = once(child, 'close');
    let said = '';
    child.stderr.setEncoding('utf8').on('data', chunk => {
      said += chunk;
    });
    child.stdout.once('data', () => sleeper.kill('SIGKILL'));
    const [code] = await exited;
    await gone;
    expect([3, 4]).toContain(code);
    expect(said).toMatch(new RegExp(`process ${sleeper.pid}`));
  });
});

const hasScript = spawnSync('script', ['--version'], { stdio: 'ignore' }).status === 0;
describe.skipIf(lacks('script (package bsdutils)', hasScript))('on a real terminal', () => {
  const onTerminal = (command: string, env: Record<string, string | undefined> = {}) =>
    spawnSync('script', ['-qec', `stty cols 60 rows 8; ${command}`, '/dev/null'], {
      encoding: 'utf8',
      env: { ...environment, ...env },
      input: '',
    });
  const quoted = `'${process.execPath}' '${program}'`;

  test('headings are bold, unless NO_COLOR says no', () => {
    expect(onTerminal(`${quoted} sources`).stdout).toContain('\x1b[1mSOURCE');
    expect(onTerminal(`${quoted} sources`, { NO_COLOR: '1' }).stdout).not.toContain('\x1b[');
    expect(onTerminal(`${quoted} sources`, { TERM: 'dumb' }).stdout).not.toContain('\x1b[');
  });

  test('--watch takes a screen of its own, and Ctrl-C gives the terminal back', async () => {
    const child = spawn(
      'script',
      // No shell stays behind: Ctrl-C goes to the whole foreground group, and a shell may die of it.
      ['-qec', `stty cols 60 rows 8; exec ${quoted} list --watch 0.1`, '/dev/null'],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
        env: environment,
      },
    );
    const exited = once(child, 'close');
    let told = false;
    let text = '';
    child.stdout.setEncoding('utf8').on('data', chunk => {
      text += chunk;
      if (told || text.split('\x1b[H').length < 4) return;
      told = true;
      child.stdin.write('\x03');
    });
    // script ends with the status of what it ran (-e).
    expect(await exited).toEqual([0, null]);
    expect(text.startsWith('\x1b[?1049h\x1b[?25l')).toBe(true);
    expect(text).toMatch(/\x1b\[\?25h\x1b\[\?1049l(\^C)?$/);
    expect(text).toContain('Ctrl-C ends');
  });
});

describe('start', () => {
  const used = () =>
    (JSON.parse(run('list', '--json').stdout) as ProcessList).processes.some(
      ({ buffers }) => buffers === null || buffers > 0,
    );
  test('shows the recording where nothing uses udmabuf, labelled, with the way to a live process', () => {
    if (used()) {
      expect(run('start').stdout).toContain('UDMABUFS');
      return;
    }
    const { status, stdout, stderr } = run('start');
    expect([status, stderr]).toEqual([0, '']);
    expectPrintable(stdout);
    const lines = stdout.split('\n');
    expect(lines[0]).toMatch(/^RECORDING, not this machine: a real QEMU .* Linux \d/);
    expect(lines.filter(line => line.includes('live process'))).toEqual([
      'For a live process: node dist/cli/pinscope.js snapshot --pid PID',
    ]);
    // 1920 × 1080 pixels of 4 bytes.
    expect(stdout).toMatch(/^ +\d+ .* 7\.91 MiB +2025 /m);
    // The buffer with something to see is the one in detail.
    expect(stdout).toMatch(/^ {2}backing +\d+ connected, \d+ disconnected$/m);
    expect(stdout).toMatch(
      /^ERROR {4}disconnected\n {9}dma-buf \d+: \d+ of \d+ pages no longer the guest’s\.$/m,
    );
    expect(stdout).toMatch(/^process +qemu-system-/m);
  });
  test('the bundled recording is a snapshot of a QEMU that owns its pages', () => {
    const recorded = JSON.parse(readFileSync(join(root, 'model/recorded-snapshot.json'), 'utf8')) as Snapshot;
    expect(recorded).toMatchObject({ schema: 'pinscope.snapshot/1', target: { kind: 'qemu' } });
    const framebuffer = recorded.resources.find(({ sizeBytes }) => sizeBytes === 8294400);
    expect(framebuffer?.pages?.count).toBe(2025);
    const pages = framebuffer?.pages?.runs.reduce((sum, { count }) => sum + count, 0);
    expect(pages).toBe(2025);
    for (const { pfn } of framebuffer?.pages?.runs ?? []) expect(pfn).toBeGreaterThan(0);
  });
  test('the bundled recording says of itself what the rules say of it now', () => {
    const file = join(root, 'model/recorded-snapshot.json');
    const recorded = JSON.parse(readFileSync(file, 'utf8')) as Snapshot;
    const { findings, notChecked } = evaluate(fromSnapshot(recorded));
    // Their words may have changed since.
    const brief = (list: readonly Finding[]) => list.map(each => [each.rule, each.severity, each.resource]);
    expect(brief(recorded.findings)).toEqual(brief(findings));
    expect(recorded.notChecked).toEqual(notChecked);
    // What is wrong with it, beside what is true of every such guest.
    const wrong = findings.filter(({ severity }) => severity !== 'info');
    expect(wrong.map(({ rule, severity }) => [rule, severity])).toEqual([['disconnected', 'error']]);
    const lost = recorded.resources.flatMap(({ pages }) =>
      (pages?.runs ?? []).filter(({ backing }) => backing === 'disconnected').map(({ count }) => count),
    );
    expect(findings[0]?.title).toContain(`${lost.reduce((a, b) => a + b)} of `);
    expect(statSync(file).size).toBeLessThan(400_000);
  });
});

test('a link called pinscope, as npm makes for bin, works and is called by its name', () => {
  const dir = mkdtempSync(join(tmpdir(), 'pinscope-bin-'));
  try {
    symlinkSync(program, join(dir, 'pinscope'));
    const { status, stdout } = spawnSync(process.execPath, [join(dir, 'pinscope'), 'sources'], {
      encoding: 'utf8',
    });
    expect([status, stdout.startsWith('SOURCE')]).toEqual([0, true]);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('an addon that is missing is one sentence', () => {
  const { status, stderr } = spawnSync(process.execPath, [program, 'list'], {
    encoding: 'utf8',
    env: { ...environment, PINSCOPE_ADDON: '/nonexistent/pinscope.node' },
  });
  expect(status).toBe(1);
  expect(stderr).toMatch(/^pinscope: .*\/nonexistent\/pinscope\.node/);
  expect(stderr).not.toMatch(/^ +at /m);
});

describe('a session file', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'pinscope-session-'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  test('is shown at the sample that it names, labelled as a recording', () => {
    const { status, stdout, stderr } = run('show', RECORDED);
    expect([status, stderr]).toEqual([0, '']);
    expectPrintable(stdout);
    expect(stdout).toMatch(
      /^RECORDING, not live: renderer\/public\/recorded\.pinscope, sample \d+ of 90, taken/,
    );
    expect(stdout).toMatch(/24 disconnected/);
    for (const line of stdout.split('\n')) expect([...line].length).toBeLessThanOrEqual(100);
  });

  test('is shown at a number and at a time', () => {
    const at = (when: string) => JSON.parse(run('show', RECORDED, '--at', when, '--json').stdout) as Snapshot;
    const first = at('#1');
    expect(first.schema).toBe('pinscope.snapshot/1');
    const tenth = at('#10');
    const time = tenth.takenAt.slice(11, 19);
    expect(at(time)).toEqual(tenth);
    expect(at(tenth.takenAt)).toEqual(tenth);
    expect(at(tenth.takenAt.slice(0, 19))).toEqual(tenth);
    expect(at('2020-01-01T00:00:00Z')).toEqual(first);
    const [{ inode } = { inode: 0 }] = tenth.resources;
    const one = run('show', RECORDED, '--at', '#10', '--json', '--resource', String(inode));
    expect((JSON.parse(one.stdout) as Snapshot).resources).toHaveLength(1);
    expect(run('show', RECORDED, '--resource', '999999')).toMatchObject({
      status: 3,
      stderr: expect.stringMatching(/there is no dma-buf 999999 in sample/),
    });
  });

  test('that is damaged says what is missing, and shows the rest', () => {
    const file = join(dir, 'damaged.pinscope');
    writeFileSync(file, damagedCopy(readFileSync(join(root, RECORDED))));
    const info = run('show', file, '--info');
    expect(info.status).toBe(0);
    expectPrintable(info.stdout);
    expect(info.stdout.replace(/\s+/g, ' ')).toMatch(
      /\d+ samples from sample \d+ on are missing, after the one taken \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\. In the frame at byte 0:/,
    );
    expect(info.stdout.replace(/\s+/g, ' ')).toMatch(/The file is whole up to sample \d+ and stops there/);
    const { samples, damage } = JSON.parse(run('show', file, '--info', '--json').stdout);
    expect(samples.whole).toBeLessThan(samples.count);
    expect(damage).toHaveLength(2);
    const missing = run('show', file, '--at', `#${damage[0].sample}`);
    expect([missing.status, missing.stdout]).toEqual([1, '']);
    expect(missing.stderr).toMatch(
      /is missing: in the frame at byte 0, .*The nearest whole one: --at "#\d+"\n$/,
    );
    const nearest = /--at "(#\d+)"/.exec(missing.stderr)?.[1] ?? '';
    expect(run('show', file, '--at', nearest).status).toBe(0);
  });

  test('that is none is refused in a sentence', () => {
    const file = join(dir, 'x');
    writeFileSync(file, 'no session');
    expect(run('show', file)).toEqual({
      status: 1,
      stdout: '',
      stderr: `pinscope: ${file}: This is no session of Pinscope, or none of it is left: it has no frame.\n`,
    });
    expect(run('show', join(dir, 'gone'))).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/cannot be read/),
    });
  });

  test('is copied without names, and nothing is written over unasked', () => {
    const copy = join(dir, 'copy.pinscope');
    expect(run('show', RECORDED, '--redact', '--output', copy)).toEqual({
      status: 0,
      stdout: '',
      stderr: '',
    });
    expect(statSync(copy).mode & 0o777).toBe(0o600);
    const shown = run('show', copy);
    expect(shown.stdout).toContain('“vm-1”');
    expect(gunzipSync(readFileSync(copy)).toString()).not.toContain('fedora');
    expect(run('show', RECORDED, '--redact', '--output', copy)).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/is there already; --force writes over it/),
    });
    expect(run('show', RECORDED, '--redact', '--output', copy, '--force').status).toBe(0);
    expect(readdirSync(dir)).toEqual(['copy.pinscope']);
  });

  test('is recorded until Ctrl-C, until its time is over, and until the process ends', async () => {
    const sleeper = spawn('sleep', ['600'], { stdio: 'ignore' });
    await once(sleeper, 'spawn');
    const pid = String(sleeper.pid);
    const recording = async (file: string, ...args: string[]) => {
      const child = spawn(
        process.execPath,
        [program, 'record', '--pid', pid, '-o', file, '-i', '0.1', ...args],
        {
          stdio: ['ignore', 'pipe', 'pipe'],
        },
      );
      const closed = once(child, 'close');
      let stderr = '';
      child.stderr.on('data', data => {
        stderr += data;
      });
      // The head and one sample are more than this.
      await eventually(() => expect(statSync(file).size).toBeGreaterThan(2000));
      return { child, ended: closed.then(([code]) => ({ code, stderr })) };
    };
    const info = (file: string) => JSON.parse(run('show', file, '--info', '--json').stdout);

    const interrupted = join(dir, 'a.pinscope');
    const first = await recording(interrupted);
    first.child.kill('SIGINT');
    expect(await first.ended).toEqual({
      code: 0,
      stderr: expect.stringMatching(/^\d+ samples?, .* in .*a\.pinscope\n$/),
    });
    expect(info(interrupted)).toMatchObject({ complete: true, damage: [], redacted: false, periodMs: 100 });
    expect(statSync(interrupted).mode & 0o777).toBe(0o600);
    expect(run('record', '--pid', pid, '-o', interrupted)).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/is there already; --force writes over it/),
    });

    const timed = await recording(join(dir, 'b.pinscope'), '--duration', '1', '--redact');
    expect((await timed.ended).code).toBe(0);
    expect(info(join(dir, 'b.pinscope'))).toMatchObject({ complete: true, redacted: true });

    const killed = await recording(join(dir, 'c.pinscope'));
    killed.child.kill('SIGKILL');
    await killed.ended;
    const { samples, complete, damage } = info(join(dir, 'c.pinscope'));
    expect([samples.count === samples.whole, complete, damage]).toEqual([true, false, []]);

    const last = await recording(join(dir, 'd.pinscope'));
    sleeper.kill('SIGKILL');
    expect(await last.ended).toEqual({
      code: 0,
      stderr: expect.stringMatching(/^The process ended\. \d+ sample/),
    });
    expect(info(join(dir, 'd.pinscope')).events.at(-1)).toMatchObject({ kind: 'gone' });
    expect(run('record', '--pid', pid, '-o', join(dir, 'e.pinscope'))).toMatchObject({ status: 3 });
    expect(existsSync(join(dir, 'e.pinscope'))).toBe(false);
  });

  test('ends with an error where the disk is full', async () => {
    const sleeper = spawn('sleep', ['600'], { stdio: 'ignore' });
    await once(sleeper, 'spawn');
    const { status, stderr } = run('record', '--pid', String(sleeper.pid), '-o', '/dev/full', '--force');
    sleeper.kill('SIGKILL');
    expect([status, stderr]).toEqual([
      1,
      expect.stringMatching(/cannot be written any more: ENOSPC.*0 samples until then/),
    ]);
  });
});
