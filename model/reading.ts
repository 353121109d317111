/**
 * A value read from the host, or the reason why it could not be read. Nothing that comes from the host travels
 * without one, so that a missing number is never printed as zero.
 */
export type Reading<T> = Ok<T> | Denied | Absent | Raced | Stale<T>;

interface From {
  /** The file, ioctl or QMP command it came from, e.g. `/proc/zoneinfo`. */
  readonly source: string;
}
export interface Ok<T> extends From {
  readonly state: 'ok';
  readonly value: T;
}
/** It exists, and we may not read it. */
export interface Denied extends From {
  readonly state: 'denied';
  readonly detail: string;
  /** What would grant it, in words that a user can act on. */
  readonly grant: string;
}
/** This kernel, QEMU or machine does not have it, or has it in a form that we do not understand. */
export interface Absent extends From {
  readonly state: 'absent';
  readonly detail: string;
}
/** It changed while we read it (a process exited, a list moved), so what we read is thrown away. */
export interface Raced extends From {
  readonly state: 'raced';
  readonly detail: string;
}
/** An older value; the newest attempt failed. */
export interface Stale<T> extends From {
  readonly state: 'stale';
  readonly value: T;
  readonly detail: string;
}
export type ReadingState = Reading<unknown>['state'];

export const ok = <T>(source: string, value: T): Ok<T> => ({ state: 'ok', source, value });
export const denied = (source: string, detail: string, grant: string): Denied => ({
  state: 'denied',
  source,
  detail,
  grant,
});
export const absent = (source: string, detail: string): Absent => ({ state: 'absent', source, detail });
export const raced = (source: string, detail: string): Raced => ({ state: 'raced', source, detail });

/** The value of an `ok` or `stale` reading, else `undefined`. */
export function known<T>(reading: Reading<T>): T | undefined {
  return reading.state === 'ok' || reading.state === 'stale' ? reading.value : undefined;
}

/** Applies `f` to the value and keeps every other state as it is. */
export function mapReading<T, U>(reading: Reading<T>, f: (value: T) => U): Reading<U> {
  return reading.state === 'ok' || reading.state === 'stale'
    ? { ...reading, value: f(reading.value) }
    : reading;
}
