import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test, vi } from 'vitest';
import { COMMANDS, type CommandId } from '../model/commands.ts';
import { isRoot, lacks } from '../test/need.ts';

vi.mock('electron', () => ({ app: {}, screen: {}, Menu: {} }));
const { asOpenRequest, parseArguments, refuseNoSandbox, refuseRoot } = await import('./arguments.ts');
const { parseWindowState } = await import('./window-state.ts');
const { menuTemplate } = await import('./menu.ts');
const { ownProgram, runtimeNotice } = await import('./runtime.ts');

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
});

/** Makes process.exit throw `exit N`; returns what was written to stderr by then. */
function listen(): () => string {
  let said = '';
  vi.spyOn(process.stderr, 'write').mockImplementation(chunk => {
    said += String(chunk);
    return true;
  });
  vi.spyOn(process, 'exit').mockImplementation(status => {
    throw new Error(`exit ${status}`);
  });
  return () => said;
}

test('--pid N and --pid=N name a process; Chromium’s switches pass by', () => {
  expect(parseArguments(['pinscope'])).toEqual({ pid: null });
  expect(parseArguments(['pinscope', '--disable-gpu', '--pid', '42'])).toEqual({ pid: 42 });
  expect(parseArguments(['pinscope', '--pid=4194304'])).toEqual({ pid: 4194304 });
});

test.each(['', '0', '-1', '1.5', '0x10', 'qemu', '4194305', '\x1b[31m'])(
  '--pid %j ends with a sentence',
  text => {
    const said = listen();
    expect(() => parseArguments(['pinscope', `--pid=${text}`])).toThrow('exit 2');
    expect(said()).toMatch(/^pinscope: --pid needs the number of a process, not “[ -~]*”\n$/);
  },
);

const become = isRoot ? [] : ['unshare', '--user', '--map-root-user'];
const mayBecome = spawnSync('unshare', ['--user', '--map-root-user', 'true']).status === 0;

test.skipIf(lacks('root, or user namespaces', isRoot || mayBecome))(
  'root is told the same sentence by the launcher of packages',
  () => {
    const launcher = fileURLToPath(new URL('../build/resources/launcher.sh', import.meta.url));
    const [program = '', ...words] = [...become, launcher, '--pid', '1'];
    const { status, stdout, stderr } = spawnSync(program, words, { encoding: 'utf8' });
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^pinscope: the window does not run as root; [^\n]+\n$/);

    const said = listen();
    vi.spyOn(process, 'getuid').mockReturnValue(0);
    expect(refuseRoot).toThrow('exit 1');
    expect(said()).toBe(stderr);
  },
);

test('without the sandbox it ends with a sentence, and only then', () => {
  const said = listen();
  refuseNoSandbox({ hasSwitch: name => name !== 'no-sandbox' });
  expect(() => refuseNoSandbox({ hasSwitch: name => name === 'no-sandbox' })).toThrow('exit 1');
  expect(said()).toMatch(/^pinscope: the window does not run without its sandbox [^\n]+\n$/);
});

test('another runtime than the pinned one is told once: by npm start, whose words are kept, or by the window', () => {
  vi.stubGlobal('PINSCOPE_ELECTRON', '45.4.1');
  vi.spyOn(process, 'versions', 'get').mockReturnValue({ ...process.versions, electron: '22.3.25' });
  vi.stubEnv('PINSCOPE_RUNTIME_NOTICE', '');
  expect(runtimeNotice()).toEqual({
    text: 'running on Electron 22.3.25 instead of 45.4.1: for tests, not for daily use',
    told: false,
  });
  vi.stubEnv('PINSCOPE_RUNTIME_NOTICE', 'Runs on a stand-in.');
  expect(runtimeNotice()).toEqual({ text: 'Runs on a stand-in.', told: true });
  vi.stubGlobal('PINSCOPE_ELECTRON', '22.3.25');
  expect(runtimeNotice()).toBeNull();
});

test('the terminal program is where npm start says it is; a package knows none', () => {
  vi.stubEnv('PINSCOPE_PROGRAM', '');
  expect(ownProgram()).toEqual({});
  vi.stubEnv('PINSCOPE_PROGRAM', 'node x.js');
  expect(ownProgram()).toEqual({ program: 'node x.js' });
});

test('what another start sent is taken for what it is', () => {
  expect(asOpenRequest({ pid: 7 })).toEqual({ pid: 7 });
  for (const odd of [undefined, null, 'x', {}, { pid: '7' }, { pid: -7 }, { pid: 7.5 }, [7]]) {
    expect(asOpenRequest(odd)).toEqual({ pid: null });
  }
});

test('the place of a window is taken back only as it was written', () => {
  const good = { version: 1, bounds: { x: 10, y: -5, width: 800, height: 600 }, maximised: true };
  expect(parseWindowState(JSON.stringify(good))).toEqual(good);
  const { bounds } = good;
  for (const odd of [
    '',
    'null',
    '[]',
    '{"version":1}',
    { ...good, version: 2 },
    { ...good, maximised: 'yes' },
    { ...good, bounds: { ...bounds, width: 1e99 } },
    { ...good, bounds: { ...bounds, x: '0' } },
    { ...good, bounds: { ...bounds, height: 10 } },
    { ...good, bounds: null },
  ]) {
    expect(parseWindowState(typeof odd === 'string' ? odd : JSON.stringify(odd))).toBeNull();
  }
});

test('every command has an entry in the menu, with its key, and no key is given twice', () => {
  const ran: CommandId[] = [];
  const items = menuTemplate(COMMANDS, id => ran.push(id)).flatMap(
    ({ submenu }) => submenu as { id: string; accelerator?: string; click?: () => void }[],
  );
  expect(items.map(({ id }) => id).sort()).toEqual(Object.keys(COMMANDS).sort());
  const keys = items.flatMap(({ accelerator }) => accelerator ?? []);
  expect(new Set(keys).size).toBe(keys.length);
  items.find(({ id }) => id === 'capture.pause')?.click?.();
  expect(ran).toEqual(['capture.pause']);
});
