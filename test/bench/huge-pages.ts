import { readFileSync, writeFileSync } from 'node:fs';
import { onEnd } from './undo.ts';

/** The pool of 2 MiB pages (Documentation/admin-guide/mm/hugetlbpage.rst). */
const pool = '/sys/kernel/mm/hugepages/hugepages-2048kB';
const read = (name: string) => Number(readFileSync(`${pool}/${name}`, 'utf8'));

/**
 * Makes sure that `pages` huge pages of 2 MiB are free, and returns what gives them back; the end of the program does so
 * too. A string says why they cannot be had.
 */
export function reserveHugePages(pages: number): (() => void) | string {
  let before: number;
  let free: number;
  try {
    before = read('nr_hugepages');
    free = read('free_hugepages') - read('resv_hugepages');
  } catch {
    return 'the kernel has no pool of 2 MiB huge pages';
  }
  if (free >= pages) return () => {};
  const giveBack = onEnd(() => writeFileSync(`${pool}/nr_hugepages`, String(before)));
  try {
    writeFileSync(`${pool}/nr_hugepages`, String(before + pages - free));
  } catch (error) {
    giveBackQuietly(giveBack);
    const code = error instanceof Error && 'code' in error ? error.code : error;
    return `${pages} free huge pages of 2 MiB are needed, and setting nr_hugepages gives ${code}`;
  }
  // The kernel gives what it finds, without an error.
  const got = read('free_hugepages') - read('resv_hugepages');
  if (got < pages) {
    giveBackQuietly(giveBack);
    return `${pages} free huge pages of 2 MiB are needed, and the kernel found ${got}`;
  }
  return giveBack;
}

function giveBackQuietly(giveBack: () => void): void {
  try {
    giveBack();
  } catch {
    // Where it could not be set, there is nothing to give back.
  }
}
