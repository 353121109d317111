import { COMMANDS, type CommandId } from '../../model/commands.ts';
import { formatBytes } from '../../model/format.ts';
import type { ProcessList } from '../../model/process-list.ts';
import type { SampledResource } from '../../model/run-columns.ts';
import { printable } from '../../model/text.ts';
import { keyText } from './keys.ts';

/** A line of the palette. */
export interface Entry {
  /** Unique. */
  readonly id: string;
  readonly group: string;
  readonly title: string;
  /** How its key is shown; empty: none. */
  readonly key: string;
  /** Other words that it is found by. */
  readonly words: readonly string[];
  /** Why it can do nothing now; `null`: it can. */
  readonly blocked: string | null;
}

export interface EntryGroup {
  readonly group: string;
  readonly entries: readonly Entry[];
}

/** Characters of a name that are listed and searched: the search tries every place of every letter. */
const NAME = 48;
const short = (name: string): string => {
  const text = printable(name.slice(0, NAME));
  return text.length > NAME ? `${text.slice(0, NAME)}…` : text;
};

/** Entries of all commands but the palette itself, in the order of the menus. */
export function commandEntries(whyNot: (id: CommandId) => string | null): Entry[] {
  return (Object.keys(COMMANDS) as CommandId[])
    .filter(id => id !== 'view.palette')
    .map(id => ({
      id,
      group: COMMANDS[id].menu,
      title: COMMANDS[id].title,
      key: keyText(id),
      words: [id],
      blocked: whyNot(id),
    }));
}

export const processEntryId = (pid: number, startTime: string): string => `process ${pid} ${startTime}`;

/** An entry a process that can be watched. */
export function processEntries(list: ProcessList | null, watched: number | null): Entry[] {
  return (list?.processes ?? []).map(process => ({
    id: processEntryId(process.pid, process.startTime),
    group: 'Processes',
    title: `Attach to ${short(process.name ?? process.comm)}, pid ${process.pid}`,
    key: '',
    words: [short(process.comm), String(process.pid), 'watch'],
    blocked: process.pid === watched ? 'It is watched now.' : null,
  }));
}

export const resourceEntryId = (inode: number): string => `dma-buf ${inode}`;

/** An entry a dma-buf of the sample. */
export function resourceEntries(resources: readonly SampledResource[]): Entry[] {
  return resources.map(({ inode, name, sizeBytes }) => ({
    id: resourceEntryId(inode),
    group: 'Resources',
    title: `Show dma-buf ${inode}${name ? ` ${short(name)}` : ''}, ${sizeBytes === null ? 'size unknown' : formatBytes(sizeBytes)}`,
    key: '',
    words: [String(inode), 'resource', 'udmabuf'],
    blocked: null,
  }));
}

/** Entries of a group that are listed: of thousands of buffers one types the number. */
const LISTED = 30;
const LISTED_UNASKED = 6;

/**
 * The entries that a search leaves, by group. A search orders both by how well they fit, what can do nothing last; without one
 * all commands stand in their order, and a few of the rest.
 * @param score how well a title with other words fits a search, 0: not at all
 */
export function found(
  entries: readonly Entry[],
  search: string,
  score: (title: string, search: string, words: string[]) => number,
): EntryGroup[] {
  const text = search.trim().slice(0, NAME);
  const scored = entries
    .map(entry => ({ entry, value: text === '' ? 1 : score(entry.title, text, [...entry.words]) }))
    .filter(({ value }) => value > 0);
  if (text !== '') {
    scored.sort(
      (a, b) => Number(a.entry.blocked !== null) - Number(b.entry.blocked !== null) || b.value - a.value,
    );
  }
  const groups = new Map<string, Entry[]>();
  for (const { entry } of scored) {
    const group = groups.get(entry.group) ?? [];
    groups.set(entry.group, group);
    const many = entry.group === 'Processes' || entry.group === 'Resources';
    if (group.length < (many && text === '' ? LISTED_UNASKED : LISTED)) group.push(entry);
  }
  return [...groups].map(([group, of]) => ({ group, entries: of }));
}
