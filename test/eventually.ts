import { vi } from 'vitest';

/** Waits until `check` passes, 20 s at most: the second that vitest gives by itself can be one frame of a busy machine. */
export const eventually = <T>(check: () => T | Promise<T>): Promise<T> => vi.waitFor(check, 20_000);
