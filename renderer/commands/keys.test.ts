import { expect, test } from 'vitest';
import { COMMANDS, type CommandDefinition, type CommandId } from '../../model/commands.ts';
import { byMenu, commandOf, type KeyPress, keyText, titleWithKey } from './keys.ts';

const press = (key: string, change: Partial<KeyPress> = {}): KeyPress => ({
  key,
  code: '',
  ctrlKey: false,
  metaKey: false,
  altKey: false,
  shiftKey: false,
  ...change,
});
const definitions = Object.entries(COMMANDS) as [CommandId, CommandDefinition][];

/** The press that a key stands for. */
function pressOf(key: string): KeyPress {
  const parts = key.split('+');
  const last = parts.pop() ?? '';
  return press(last.toLowerCase(), {
    key: last.length > 1 ? last : last.toLowerCase(),
    ctrlKey: parts.includes('CmdOrCtrl'),
    altKey: parts.includes('Alt'),
    shiftKey: parts.includes('Shift'),
  });
}

test('every key of the table runs its command, and those of Electron’s own run none here', () => {
  for (const [id, { key, role }] of definitions) {
    if (key !== null) expect(commandOf(pressOf(key))).toBe(role === undefined ? id : null);
  }
});

test('no two commands have one key', () => {
  const keys = definitions.flatMap(([, { key }]) => (key === null ? [] : [key.toLowerCase()]));
  expect(new Set(keys).size).toBe(keys.length);
});

test('one modifier too many or too few is another key', () => {
  expect(commandOf(press('p', { ctrlKey: true }))).toBe('capture.pause');
  expect(commandOf(press('p'))).toBeNull();
  expect(commandOf(press('p', { ctrlKey: true, altKey: true }))).toBeNull();
  expect(commandOf(press('P', { metaKey: true }))).toBe('capture.pause');
  expect(commandOf(press('2', { altKey: true, ctrlKey: true }))).toBeNull();
});

test('a character is a command where nothing is being typed', () => {
  expect(commandOf(press('?', { shiftKey: true }))).toBe('help.keys');
  expect(commandOf(press('?'))).toBe('help.keys');
  expect(commandOf(press('?', { shiftKey: true }), true)).toBeNull();
  expect(commandOf(press('?', { ctrlKey: true, shiftKey: true }))).toBeNull();
  expect(commandOf(press('F1'), true)).toBe('help.keys');
  const help = byMenu().flatMap(({ commands }) => commands);
  expect(help.find(({ id }) => id === 'help.keys')?.key).toBe('F1, ?');
});

test('digits go by their place on the keyboard', () => {
  expect(commandOf(press('é', { code: 'Digit2', altKey: true }))).toBe('go.resources');
});

test('keys are shown as they are pressed', () => {
  expect(keyText('view.theme')).toBe('Ctrl+Shift+L');
  expect(titleWithKey('capture.pause')).toBe('Pause or continue (Ctrl+P)');
  expect(titleWithKey('capture.revoke')).toBe('Give access back');
  expect(byMenu().flatMap(({ commands }) => commands)).toHaveLength(definitions.length);
});

test('no command of the page has a key that browsers keep from pages', () => {
  // Chromium's and Firefox's own: tabs, windows, the end of the program.
  const kept = [
    'n',
    't',
    'w',
    'q',
    'shift+n',
    'shift+t',
    'shift+w',
    'shift+p',
    'shift+q',
    'tab',
    'shift+tab',
  ];
  const keys = [
    ...kept.map(key => `cmdorctrl+${key}`),
    'cmdorctrl+pageup',
    'cmdorctrl+pagedown',
    'alt+f4',
    'alt+tab',
  ];
  for (const [id, { key, role }] of definitions) {
    if (role === undefined && key !== null) expect(keys, id).not.toContain(key.toLowerCase());
  }
});

test('without Electron, what it does itself is not offered', () => {
  const offered = byMenu(false).flatMap(({ commands }) => commands.map(({ id }) => id));
  expect(offered).toEqual(definitions.flatMap(([id, { role }]) => (role === undefined ? [id] : [])));
  expect(byMenu(false).every(({ commands }) => commands.length > 0)).toBe(true);
});
