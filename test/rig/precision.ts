/**
 * What every rule says of every situation that the rig makes, on every kernel: seen (`CaseContext.judged`), expected
 * (`precision.json`, written by `rig.js --write-precision` and read by people), and as the table of docs/HAZARDS.md.
 */
import { RULES } from '../../model/hazards/index.ts';
import type { Finding, Snapshot } from '../../model/snapshot.ts';
import { type BootId, boots } from './boots.ts';
import type { KernelId } from './kernels.ts';

/**
 * Rule → what it said: `silent`, `not checked`, or severities with the buffers that they are of, `warning #1 #3-5`: numbers count
 * the buffers of the snapshot by inode, which is the order in which they were made; `process` is the process as a whole. A rule
 * that found something and could not look at everything says both. In the expected table `any`: it depends on where the kernel
 * happened to take the pages from, and is not compared.
 */
export type Cells = Readonly<Record<string, string>>;

export interface Judged {
  readonly situation: string;
  readonly cells: Cells;
}

export interface SeenSituation extends Judged {
  readonly boot: BootId;
  readonly kernel: KernelId;
}

export interface ExpectedSituation {
  readonly boot: BootId;
  /** Kernels, with blanks between them → the rules that are not silent. */
  readonly kernels: Readonly<Record<string, Cells>>;
}

/** By situation, in the order of the table. */
export type Expected = Readonly<Record<string, ExpectedSituation>>;

const ANY = 'any';
const KERNELS: readonly KernelId[] = ['6.1', '6.12', '7.2'];

/** What each rule of the table says of a snapshot. */
export function cellsOf({
  findings,
  notChecked,
  resources,
}: Pick<Snapshot, 'findings' | 'notChecked' | 'resources'>): Cells {
  const inodes = resources.map(({ inode }) => inode).sort((a, b) => a - b);
  return Object.fromEntries(
    RULES.map(({ id }) => {
      const mine = findings.filter(({ rule }) => rule === id);
      const parts = (['error', 'warning', 'info'] as const).flatMap(severity => {
        const those = mine.filter(finding => finding.severity === severity);
        return those.length === 0 ? [] : [`${severity} ${places(those, inodes)}`];
      });
      if (notChecked.some(({ rule }) => rule === id)) parts.push('not checked');
      return [id, parts.join(', ') || 'silent'];
    }),
  );
}

function places(findings: readonly Finding[], inodes: readonly number[]): string {
  const numbers = findings
    .flatMap(({ resource }) => (resource === null ? [] : [inodes.indexOf(resource) + 1]))
    .sort((a, b) => a - b);
  const spans: [number, number][] = [];
  for (const number of numbers) {
    const last = spans.at(-1);
    if (last && last[1] + 1 === number) last[1] = number;
    else spans.push([number, number]);
  }
  return [
    ...(numbers.length < findings.length ? ['process'] : []),
    ...spans.map(([first, last]) => (first === last ? `#${first}` : `#${first}-${last}`)),
  ].join(' ');
}

const loud = (cells: Cells): Cells =>
  Object.fromEntries(Object.entries(cells).filter(([, cell]) => cell !== 'silent'));

/** The expected cells of one situation on one kernel that are not silent; null: the table has none for it. */
export function expectedCells(expected: Expected, situation: string, kernel: KernelId): Cells | null {
  const kernels = expected[situation]?.kernels ?? {};
  return Object.entries(kernels).find(([ids]) => ids.split(' ').includes(kernel))?.[1] ?? null;
}

/**
 * One line for each situation and kernel that is not as expected: another cell, one that the table lacks, one that the table has
 * and that did not come although its boot ran with all cases.
 */
export function precisionFailures(
  expected: Expected,
  seen: readonly SeenSituation[],
  ran: readonly { readonly boot: BootId; readonly kernel: KernelId }[],
): string[] {
  const failures: string[] = [];
  const been = new Set<string>();
  for (const { situation, kernel, boot, cells } of seen) {
    const at = `${situation}, ${kernel}`;
    if (been.has(at)) failures.push(`${at}: judged twice; each situation needs a name of its own`);
    been.add(at);
    const wanted = expectedCells(expected, situation, kernel);
    if (wanted === null || expected[situation]?.boot !== boot) {
      failures.push(`${at}: not expected in boot “${boot}”: ${JSON.stringify(loud(cells))}`);
      continue;
    }
    const rules = new Set([...Object.keys(cells), ...Object.keys(wanted)]);
    const wrong = [...rules].flatMap(rule => {
      const [is, should] = [cells[rule] ?? 'no such rule', wanted[rule] ?? 'silent'];
      return is === should || should === ANY ? [] : [`${rule} is ${is}, should be ${should}`];
    });
    if (wrong.length > 0) failures.push(`${at}: ${wrong.join('; ')}`);
  }
  for (const [situation, { boot, kernels }] of Object.entries(expected)) {
    for (const kernel of KERNELS) {
      const ids = Object.keys(kernels).flatMap(key => key.split(' '));
      const due = ids.includes(kernel) && ran.some(each => each.boot === boot && each.kernel === kernel);
      if (due && !been.has(`${situation}, ${kernel}`))
        failures.push(`${situation}, ${kernel}: expected, and no case judged it`);
    }
  }
  return failures;
}

/** The expected table with what was seen in it, by boot; situations and kernels that did not run stay. */
export function withSeen(expected: Expected, seen: readonly SeenSituation[]): Expected {
  const table: Record<string, ExpectedSituation> = { ...expected };
  for (const situation of new Set(seen.map(each => each.situation))) {
    const mine = seen.filter(each => each.situation === situation);
    const byCells = new Map<string, KernelId[]>();
    for (const kernel of KERNELS) {
      const now = mine.find(each => each.kernel === kernel);
      const before = expectedCells(expected, situation, kernel);
      const kept = Object.entries(before ?? {}).filter(([, cell]) => cell === ANY);
      const cells = now ? { ...loud(now.cells), ...Object.fromEntries(kept) } : before;
      if (!cells) continue;
      const key = JSON.stringify(cells);
      byCells.set(key, [...(byCells.get(key) ?? []), kernel]);
    }
    table[situation] = {
      boot: mine[0]?.boot ?? 'zones',
      kernels: Object.fromEntries(
        [...byCells].map(([key, ids]) => [ids.join(' '), JSON.parse(key) as Cells]),
      ),
    };
  }
  const order = boots.map(({ id }) => id);
  return Object.fromEntries(
    Object.entries(table).sort(([, a], [, b]) => order.indexOf(a.boot) - order.indexOf(b.boot)),
  );
}

const SIGNS: readonly (readonly [part: string, sign: string])[] = [
  ['error', 'E'],
  ['warning', 'W'],
  ['info', 'i'],
  ['not checked', '?'],
  [ANY, '*'],
];

const signOf = (cell: string | undefined): string =>
  SIGNS.flatMap(([part, sign]) => (cell?.includes(part) ? [sign] : [])).join('') || '·';

/** The table as Markdown: a row a situation and group of kernels, a column a rule, and a key of the columns. */
export function precisionTable(expected: Expected): string {
  const columns = RULES.map((_, i) => String(i + 1));
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const key = RULES.map(({ id }, i) => `${i + 1} [${id}](#${id})`).join(', ');
  const rows = Object.entries(expected).flatMap(([situation, { kernels }]) =>
    Object.entries(kernels).map(([ids, cells]) =>
      row([situation, ids.split(' ').join(', '), ...RULES.map(({ id }) => signOf(cells[id]))]),
    ),
  );
  return [
    `E error, W warning, i info, · silent, ? not checked (beside a letter: not of everything), * depends on where the kernel took the pages from. ${key}.`,
    '',
    row(['situation', 'kernels', ...columns]),
    row(['---', '---', ...columns.map(() => '---')]),
    ...rows,
  ].join('\n');
}

const BEGIN = '<!-- table of test/rig/precision.json: node dist/rig/rig.js precision -->';
const END = '<!-- end of the table -->';

/**
 * The text of docs/HAZARDS.md with the table in its place.
 * @throws Error when the text lacks the two marks
 */
export function withPrecisionTable(text: string, expected: Expected): string {
  const [before, rest] = text.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error(`docs/HAZARDS.md lacks ${BEGIN} … ${END}`);
  return `${before}${BEGIN}\n${precisionTable(expected)}\n${END}${after}`;
}
