import { Menu, type MenuItemConstructorOptions } from 'electron';
import type { CommandDefinition, CommandId } from '../model/commands.ts';

/** The application menu, made from the command table: an entry a command, in the table's order. */
export function setUpMenu(
  commands: Readonly<Record<CommandId, CommandDefinition>>,
  run: (id: CommandId) => void,
): void {
  Menu.setApplicationMenu(Menu.buildFromTemplate(menuTemplate(commands, run)));
}

export function menuTemplate(
  commands: Readonly<Record<CommandId, CommandDefinition>>,
  run: (id: CommandId) => void,
): MenuItemConstructorOptions[] {
  const menus = new Map<string, MenuItemConstructorOptions[]>();
  for (const [id, { menu, title, key, role }] of Object.entries(commands) as [
    CommandId,
    CommandDefinition,
  ][]) {
    const item: MenuItemConstructorOptions = {
      id,
      label: title,
      ...(key === null ? {} : { accelerator: key }),
      ...(role ? { role } : { click: () => run(id) }),
    };
    menus.set(menu, [...(menus.get(menu) ?? []), item]);
  }
  return [...menus].map(([label, submenu]) => ({ label: `&${label}`, submenu }));
}
