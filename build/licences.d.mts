// Types of licences.mjs.

interface Chunk {
  readonly type: string;
  readonly moduleIds?: readonly string[];
}
export function recordOf(name: string): string;
export function packagesOf(ids: readonly string[]): string[];
export function recordPackages(
  root: string,
  name: string,
): { name: string; generateBundle(options: unknown, bundle: Readonly<Record<string, Chunk>>): void };
export function thirdPartyLicences(root: string, names: readonly string[], more: readonly string[]): string;
