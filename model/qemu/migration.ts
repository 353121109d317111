import { JsonReader } from './json.ts';

/**
 * Reads the result of `query-migrate-capabilities`: names of the capabilities that are on, in QEMU's order
 * (qmp_query_migrate_capabilities() of migration/migration.c, 7.2).
 * @throws ParseError
 */
export function parseMigrateCapabilities(result: unknown): string[] {
  return new JsonReader('query-migrate-capabilities', result).items().flatMap(item => {
    const name = item.get('capability').string();
    return item.get('state').boolean() ? [name] : [];
  });
}

/**
 * Reads `status` of the result of `query-migrate` (`active`, `postcopy-active`, `completed`, …); null: this QEMU never migrated,
 * and the result is empty (qmp_query_migrate() there).
 * @throws ParseError
 */
export function parseMigrateStatus(result: unknown): string | null {
  return new JsonReader('query-migrate', result).get('status').optional(status => status.string());
}
