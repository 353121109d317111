import {
  CONNECTED,
  DISCONNECTED,
  type RunColumns,
  type Sample,
  type SampledResource,
} from '../run-columns.ts';
import { type FieldId, SEVERITIES } from './fields.ts';

/** Takes one value, `null` for one that is not known. Returns true to hear of no more. */
export type Visit<T> = (value: T | null) => boolean;

/** Tells the values of a field of a resource, one call each; no call at all where it is known to have none. */
export type Values<T> = (resource: SampledResource, visit: Visit<T>) => void;

/** What the readers of one sample need beside the resource. */
export interface Reading {
  /** Milliseconds since the epoch. */
  readonly takenAt: number;
  readonly findings: ReadonlyMap<number, readonly { readonly rule: string; readonly severity: number }[]>;
  /** Rules that could not run. */
  readonly notChecked: ReadonlySet<string>;
}

export function readingOf({ takenAt, findings, notChecked }: Sample): Reading {
  const byResource = new Map<number, { rule: string; severity: number }[]>();
  for (const { resource, rule, severity } of findings) {
    if (resource === null) continue;
    const found = { rule, severity: SEVERITIES.indexOf(severity) };
    const before = byResource.get(resource);
    if (before === undefined) byResource.set(resource, [found]);
    else before.push(found);
  }
  return {
    takenAt: Date.parse(takenAt),
    findings: byResource,
    notChecked: new Set(notChecked.map(({ rule }) => rule)),
  };
}

const one =
  <T>(of: (resource: SampledResource) => T | null): Values<T> =>
  (resource, visit) => {
    visit(of(resource));
  };

/** Numbers of fields that do not belong to page runs. */
export function numbersOf(field: FieldId, { takenAt }: Reading): Values<number> | null {
  switch (field) {
    case 'inode':
      return one(({ inode }) => inode);
    case 'size':
      return one(({ sizeBytes }) => sizeBytes);
    case 'pages':
      return one(({ pages }) => pages?.count ?? null);
    case 'holds':
      return one(({ pages }) => pages?.folioBytes ?? null);
    case 'folios':
      return one(({ pages }) => pages?.folios ?? null);
    case 'pins':
      return one(({ pages }) => pages?.pinReferences ?? null);
    case 'refs':
      return one(({ count }) => count);
    case 'age':
      return one(({ createdAt }) => {
        const age = createdAt === null ? Number.NaN : takenAt - Date.parse(createdAt);
        return Number.isNaN(age) ? null : age;
      });
    case 'pid':
      return ({ holders }, visit) => {
        for (const { pid } of holders) if (visit(pid)) return;
      };
    case 'resource':
      return one(({ virtio }) => virtio?.resourceId ?? null);
    case 'scanout':
      return ({ virtio }, visit) => {
        if (virtio === null || virtio.scanout === 'unknown') visit(null);
        else if (virtio.scanout !== null) visit(virtio.scanout);
      };
    default:
      return null;
  }
}

/** Texts of fields that do not belong to page runs; of words with an order, see {@link ranksOf}. */
export function textsOf(field: FieldId, reading: Reading): Values<string> | null {
  switch (field) {
    case 'name':
      // fdinfo has no line of a name that was never given; where it could not be read, there is no exporter either.
      return ({ name, exporter }, visit) => {
        if (name !== null || exporter === null) visit(name);
      };
    case 'exporter':
      return one(({ exporter }) => exporter);
    case 'holder':
      return ({ holders }, visit) => {
        for (const { comm } of holders) if (visit(comm)) return;
      };
    case 'device':
      return ({ attachments }, visit) => {
        if (attachments === null) visit(null);
        else for (const { device } of attachments) if (visit(device)) return;
      };
    case 'attached':
      return one(({ attachments }) => (attachments === null ? null : attachments.length > 0 ? 'yes' : 'no'));
    case 'mapped':
      return ({ attachments }, visit) => {
        if (attachments === null) visit(null);
        else
          for (const { mapped } of attachments)
            if (visit(mapped === null ? null : mapped ? 'yes' : 'no')) return;
      };
    case 'rule':
      return ({ inode }, visit) => {
        for (const { rule } of reading.findings.get(inode) ?? []) if (visit(rule)) return;
      };
    default:
      return null;
  }
}

/** Places of words that have an order, in the field's list of words. */
export function ranksOf(field: FieldId, { findings }: Reading): Values<number> | null {
  if (field !== 'severity') return null;
  return ({ inode }, visit) => {
    let worst = 0;
    for (const { severity } of findings.get(inode) ?? []) worst = Math.max(worst, severity);
    visit(worst);
  };
}

/** A column of runs whose numbers are compared. Negative and NaN are unknown. */
export interface NumberColumn {
  readonly first: Float64Array | Int32Array;
  /** Pages of each run where every page has a number of its own, `step` apart and `step` wide; `null`: one for the run. */
  readonly count: Float64Array | null;
  readonly step: number;
}

export function numberColumn(field: FieldId): ((runs: RunColumns) => NumberColumn) | null {
  switch (field) {
    case 'node':
      return ({ node }) => ({ first: node, count: null, step: 1 });
    case 'folio':
      return ({ folioBytes }) => ({ first: folioBytes, count: null, step: 1 });
    case 'ram':
      return ({ ramInode }) => ({ first: ramInode, count: null, step: 1 });
    case 'pfn':
      return ({ pfn, count }) => ({ first: pfn, count, step: 1 });
    case 'gpa':
      return ({ gpa, count }) => ({ first: gpa, count, step: 4096 });
    default:
      return null;
  }
}

const BACKING_NAMES: readonly string[] = Object.assign([], {
  [CONNECTED]: 'connected',
  [DISCONNECTED]: 'disconnected',
});

/** A column of runs that holds indices of names. An index without a name is unknown. */
export function nameColumn(
  field: FieldId,
):
  | ((runs: RunColumns) => { readonly at: Int16Array | Uint8Array; readonly names: readonly string[] })
  | null {
  switch (field) {
    case 'zone':
      return ({ zone, names }) => ({ at: zone, names });
    case 'migratetype':
      return ({ migratetype, names }) => ({ at: migratetype, names });
    case 'backing':
      return ({ backing }) => ({ at: backing, names: BACKING_NAMES });
    default:
      return null;
  }
}
