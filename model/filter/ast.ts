import type { FieldId, Operator } from './fields.ts';

/** A filter that was understood. Nothing in it can fail when it is evaluated: the parser checked types and units. */
export type Expression =
  | { readonly kind: 'and' | 'or'; readonly left: Expression; readonly right: Expression }
  | { readonly kind: 'not'; readonly term: Expression }
  | { readonly kind: 'compare'; readonly field: FieldId; readonly operator: Operator; readonly value: Value }
  /** A word on its own: looked for in name, exporter and holders. */
  | { readonly kind: 'search'; readonly text: string };

export type Value =
  /** Was not read. */
  | { readonly kind: 'unknown' }
  /** Was read, and there is none. */
  | { readonly kind: 'none' }
  /** Bytes, milliseconds or a plain number, by the field's type. A whole number from 0 to 2^53 - 1. */
  | { readonly kind: 'number'; readonly number: number }
  /** From the first to the last, both included. */
  | { readonly kind: 'range'; readonly first: number; readonly last: number }
  | { readonly kind: 'text'; readonly text: string };
