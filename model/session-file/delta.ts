/**
 * What changes from one sample to the next, as a list of operations on JSON, and back. Page runs are columns on both sides: a buffer
 * whose runs are the same costs a comparison of typed arrays, and nothing in the file.
 */
import {
  fromPageRuns,
  type RunColumns,
  type Sample,
  type SampledResource,
  toPageRuns,
} from '../run-columns.ts';
import type { PageRun } from '../snapshot.ts';

/**
 * A step of a path: a member's name, an index, `inode:N` for the resource of that inode, `*` for every element.
 * - `[path]`: the member, or the resource, goes.
 * - `[path, value]`: it becomes `value`; a resource that is not there comes, in the order of inodes. Below `*`: element `i` gets `value[i]`.
 * - `[path, start, count, values]`: in the array there, `count` elements from `start` on become `values`.
 */
export type Path = readonly (string | number)[];
export type Operation =
  | readonly [path: Path]
  | readonly [path: Path, value: unknown]
  | readonly [path: Path, start: number, count: number, values: readonly unknown[]];

type Members = Readonly<Record<string, unknown>>;
const isMembers = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What makes `after` of `before`. */
export function difference(before: Sample, after: Sample): Operation[] {
  const operations: Operation[] = [];
  const { resources: old, sources: oldSources, ...restBefore } = before;
  const { resources, sources, ...restAfter } = after;
  compare([], restBefore, restAfter, operations);
  compareSources(oldSources, sources, operations);
  compareResources(old, resources, operations);
  return operations;
}

function compare(path: Path, before: unknown, after: unknown, into: Operation[]): void {
  if (Object.is(before, after)) return;
  if (isMembers(before) && isMembers(after)) {
    for (const key of Object.keys(before)) {
      if (after[key] === undefined && before[key] !== undefined) into.push([[...path, key]]);
    }
    for (const [key, value] of Object.entries(after)) {
      if (value !== undefined) compare([...path, key], before[key], value, into);
    }
  } else if (Array.isArray(before) && Array.isArray(after)) {
    if (before.length === after.length) {
      for (const [i, value] of after.entries()) compare([...path, i], before[i], value, into);
    } else {
      splice(path, before, after, into);
    }
  } else {
    into.push([path, after]);
  }
}

function splice(path: Path, before: readonly unknown[], after: readonly unknown[], into: Operation[]): void {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && same(before[start], after[start])) start++;
  let end = 0;
  while (end < shorter - start && same(before[before.length - 1 - end], after[after.length - 1 - end])) end++;
  into.push([path, start, before.length - end - start, after.slice(start, after.length - end)]);
}

function same(a: unknown, b: unknown): boolean {
  const found: Operation[] = [];
  compare([], a, b, found);
  return found.length === 0;
}

/** What every source cost changes with every sample: one operation for all. */
function compareSources(before: Sample['sources'], after: Sample['sources'], into: Operation[]): void {
  const costs = after.map(({ costMs }) => costMs);
  const fits = before.length === after.length;
  const all = fits && before.every(({ costMs }, i) => Object.is(costMs, costs[i]));
  if (fits && !all) into.push([['sources', '*', 'costMs'], costs]);
  compare(
    ['sources'],
    fits ? before.map((source, i) => ({ ...source, costMs: costs[i] })) : before,
    after,
    into,
  );
}

/** Ascending and each inode once: the order that the reader makes by itself. */
const inOrder = (resources: readonly SampledResource[]): boolean =>
  resources.every(({ inode }, i) => i === 0 || inode > (resources[i - 1]?.inode ?? Number.POSITIVE_INFINITY));

const asJson = (resource: SampledResource): unknown => ({
  ...resource,
  pages: resource.pages && { ...resource.pages, runs: toPageRuns(resource.pages.runs) },
});

function compareResources(
  before: readonly SampledResource[],
  after: readonly SampledResource[],
  into: Operation[],
): void {
  if (!inOrder(before) || !inOrder(after)) {
    into.push([['resources'], after.map(asJson)]);
    return;
  }
  const old = new Map(before.map(resource => [resource.inode, resource]));
  const now = new Set(after.map(({ inode }) => inode));
  for (const { inode } of before) if (!now.has(inode)) into.push([['resources', `inode:${inode}`]]);
  for (const resource of after) {
    const path = ['resources', `inode:${resource.inode}`];
    const was = old.get(resource.inode);
    if (was === undefined) into.push([path, asJson(resource)]);
    else if (was !== resource) compareResource(path, was, resource, into);
  }
}

function compareResource(
  path: Path,
  before: SampledResource,
  after: SampledResource,
  into: Operation[],
): void {
  const { pages: pagesBefore, ...restBefore } = before;
  const { pages, ...rest } = after;
  compare(path, restBefore, rest, into);
  const to = [...path, 'pages'];
  if (pagesBefore === null || pages === null) {
    if (pagesBefore !== pages) into.push([to, pages && { ...pages, runs: toPageRuns(pages.runs) }]);
    return;
  }
  const { runs: runsBefore, ...countsBefore } = pagesBefore;
  const { runs, ...counts } = pages;
  compare(to, countsBefore, counts, into);
  if (!sameRuns(runsBefore, runs)) splice([...to, 'runs'], toPageRuns(runsBefore), toPageRuns(runs), into);
}

const COLUMNS = [
  'index',
  'pfn',
  'count',
  'folioBytes',
  'node',
  'gpa',
  'ramInode',
  'ramOffset',
  'backing',
] as const;

function sameRuns(a: RunColumns, b: RunColumns): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (const column of COLUMNS) {
    const [ours, theirs] = [a[column], b[column]];
    for (let i = 0; i < a.length; i++) if (!Object.is(ours[i], theirs[i])) return false;
  }
  for (const column of ['zone', 'migratetype'] as const) {
    for (let i = 0; i < a.length; i++) {
      if (a.names[a[column][i] ?? -1] !== b.names[b[column][i] ?? -1]) return false;
    }
  }
  return true;
}

// ---------------------------------------------------------------------------------------------- and back

/** An operation that does not fit what it is applied to: the file was not made by {@link difference}. */
export class DeltaError extends Error {}

/** The sample after `operations`. What they do not touch is the same object as before. */
export function applied(sample: Sample, operations: readonly Operation[]): Sample {
  let now: unknown = sample;
  for (const operation of operations) now = apply(now, operation, 0);
  return now as Sample;
}

function apply(value: unknown, operation: Operation, depth: number): unknown {
  const path = operation[0];
  const step = path[depth];
  if (step === undefined) return atPlace(value, operation);
  const last = depth === path.length - 1;
  if (Array.isArray(value)) {
    if (step === '*') return below(value, operation, depth);
    if (typeof step === 'string') return resource(value, operation, depth);
    if (!(Number.isInteger(step) && step >= 0 && step < value.length))
      throw new DeltaError(`no element ${step}`);
    const copy = [...value];
    copy[step] = apply(value[step], operation, depth + 1);
    return copy;
  }
  if (!isMembers(value) || typeof step !== 'string') throw new DeltaError(`nothing at ${path.join('.')}`);
  if (last && operation.length === 1) {
    return Object.fromEntries(Object.entries(value).filter(([key]) => key !== step));
  }
  if (step === 'runs' && isColumns(value.runs)) {
    return { ...value, runs: fromPageRuns(apply(toPageRuns(value.runs), operation, depth + 1) as PageRun[]) };
  }
  const inner = apply(Object.hasOwn(value, step) ? value[step] : undefined, operation, depth + 1);
  return { ...value, [step]: step === 'pages' || step === 'resources' ? asColumns(inner) : inner };
}

function atPlace(value: unknown, operation: Operation): unknown {
  if (operation.length === 2) return operation[1];
  if (operation.length !== 4 || !Array.isArray(value)) throw new DeltaError('an operation that is none');
  const [, start, count, values] = operation;
  if (!(start >= 0 && count >= 0 && start + count <= value.length && Array.isArray(values))) {
    throw new DeltaError('a change outside its array');
  }
  return [...value.slice(0, start), ...values, ...value.slice(start + count)];
}

function below(value: readonly unknown[], operation: Operation, depth: number): unknown {
  const [path, values] = operation;
  if (!Array.isArray(values) || values.length !== value.length)
    throw new DeltaError('not a value an element');
  return value.map((element, i) => apply(element, [path, values[i]], depth + 1));
}

function resource(value: readonly unknown[], operation: Operation, depth: number): unknown {
  const step = String(operation[0][depth]);
  const inode = Number(/^inode:(\d+)$/.exec(step)?.[1] ?? Number.NaN);
  const inodeOf = (element: unknown) => (isMembers(element) ? Number(element.inode) : Number.NaN);
  const at = value.findIndex(element => inodeOf(element) === inode);
  const last = depth === operation[0].length - 1;
  if (at < 0) {
    if (!last || operation.length !== 2) throw new DeltaError(`no ${step}`);
    const place = value.findIndex(element => inodeOf(element) > inode);
    const to = place < 0 ? value.length : place;
    return [...value.slice(0, to), withColumns(operation[1]), ...value.slice(to)];
  }
  if (last && operation.length === 1) return value.filter((_, i) => i !== at);
  const copy = [...value];
  copy[at] = withColumns(apply(value[at], operation, depth + 1));
  return copy;
}

const isColumns = (value: unknown): value is RunColumns =>
  isMembers(value) && value.pfn instanceof Float64Array;

/** Runs that came as objects become columns: of the pages, of a resource, of all resources. */
function asColumns(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withColumns);
  return isMembers(value) && Array.isArray(value.runs) ? { ...value, runs: fromPageRuns(value.runs) } : value;
}

const withColumns = (value: unknown): unknown =>
  isMembers(value) && isMembers(value.pages) ? { ...value, pages: asColumns(value.pages) } : value;
