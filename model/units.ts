/**
 * Numbers that must not be mixed up. A brand costs nothing at run time and makes `pfn + gpa` a type error.
 * Quantities that may pass 2^53 (addresses of the kernel half, nanoseconds) are `bigint`; page numbers and
 * byte counts of real machines stay far below it and are `number`.
 */
declare const brand: unique symbol;
type Brand<T, B extends string> = T & { readonly [brand]: B };

/** Host page frame number: physical address / page size. */
export type Pfn = Brand<number, 'Pfn'>;
/** Guest physical address, bytes. */
export type Gpa = Brand<number, 'Gpa'>;
/** Virtual address in a user process, bytes (user space ends below 2^47, or 2^56 with five-level tables). */
export type Hva = Brand<bigint, 'Hva'>;
/** Virtual address in the kernel, bytes. */
export type Kva = Brand<bigint, 'Kva'>;

export const asPfn = (n: number): Pfn => n as Pfn;
export const asGpa = (n: number): Gpa => n as Gpa;
export const asHva = (n: bigint): Hva => n as Hva;
export const asKva = (n: bigint): Kva => n as Kva;

/** From here on a hugetlb page is gigantic: it never migrates out of ZONE_MOVABLE for a pin (mm/gup.c, measured on 6.12 and 7.2). */
export const GIGANTIC_PAGE = 2 ** 30;

/** `0x…`, lower case, no padding: the way the kernel and QEMU print addresses. */
export function hex(n: number | bigint): string {
  return `0x${n.toString(16)}`;
}
