import { COMMANDS, type CommandDefinition, type CommandId } from '../../model/commands.ts';

/** A key press, as far as commands look at it. */
export type KeyPress = Pick<KeyboardEvent, 'key' | 'code' | 'ctrlKey' | 'metaKey' | 'altKey' | 'shiftKey'>;

/** Commands that the page does; those with a role are Electron's own. */
export type PageCommandId = {
  [Id in CommandId]: (typeof COMMANDS)[Id] extends { role: string } ? never : Id;
}[CommandId];

/** Whether a press is a key as Electron writes it: `CmdOrCtrl+Shift+L`, `Alt+1`, `F5`. Digits go by their place. */
export function matches(key: string, press: KeyPress): boolean {
  const parts = key.split('+');
  const last = parts.pop() ?? '';
  const wants = (modifier: string) => parts.includes(modifier);
  if (wants('CmdOrCtrl') !== (press.ctrlKey || press.metaKey)) return false;
  if (wants('Alt') !== press.altKey || wants('Shift') !== press.shiftKey) return false;
  // On many layouts a digit takes Shift, or another key stands for it.
  if (/^\d$/.test(last)) return press.code === `Digit${last}` || press.key === last;
  return press.key.toLowerCase() === last.toLowerCase();
}

const table: readonly (readonly [CommandId, CommandDefinition])[] = Object.entries(COMMANDS) as [
  CommandId,
  CommandDefinition,
][];

/**
 * The page's command of a key press.
 * @param typing whether the press goes into a text, where characters are no commands
 */
export function commandOf(press: KeyPress, typing = false): PageCommandId | null {
  const bare = !typing && !press.ctrlKey && !press.metaKey && !press.altKey;
  const found = table.find(
    ([, { key, character, role }]) =>
      role === undefined &&
      ((key !== null && matches(key, press)) || (bare && character !== undefined && character === press.key)),
  );
  return (found?.[0] as PageCommandId | undefined) ?? null;
}

/** `Ctrl+Shift+L`: how a key is shown; empty for a command without one. */
export function keyText(id: CommandId): string {
  return (COMMANDS[id].key ?? '').replace('CmdOrCtrl', 'Ctrl');
}

/** All keys of a command: `F1, ?`. */
const keysText = (id: CommandId, { character }: CommandDefinition): string =>
  [keyText(id), character ?? ''].filter(text => text !== '').join(', ');

/** `Pause or continue (Ctrl+P)`, for tooltips. */
export function titleWithKey(id: CommandId): string {
  const key = keyText(id);
  return key === '' ? COMMANDS[id].title : `${COMMANDS[id].title} (${key})`;
}

/** All commands by menu, for the help. @param roles whether there is an Electron to do those with a role */
export function byMenu(
  roles = true,
): { menu: string; commands: { id: CommandId; title: string; key: string }[] }[] {
  const menus = [...new Set(table.map(([, { menu }]) => menu))];
  return menus.map(menu => ({
    menu,
    commands: table
      .filter(([, { menu: of, role }]) => of === menu && (roles || role === undefined))
      .map(([id, definition]) => ({ id, title: definition.title, key: keysText(id, definition) })),
  }));
}
