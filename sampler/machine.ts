import { parseMeminfo } from '../model/host/meminfo.ts';
import { ParseError } from '../model/parse-error.ts';
import type { QemuCommandLine } from '../model/qemu/cmdline.ts';
import { machineMemory } from '../model/qemu/machine-memory.ts';
import { parseMigrateCapabilities, parseMigrateStatus } from '../model/qemu/migration.ts';
import { absent, known, ok, type Reading } from '../model/reading.ts';
import type { MachineMemory, MigrationState, RamBackend } from '../model/snapshot.ts';
import type { HostFiles } from './files.ts';
import { type QmpClient, QmpError } from './qmp.ts';

/** What the guest's memory lies in, by the command line. @param ram of the same process; null: not known */
export function readMachineMemory(
  files: HostFiles,
  pid: number,
  commandLine: QemuCommandLine | null,
  ram: readonly RamBackend[] | null,
): Reading<MachineMemory> {
  const source = `/proc/${pid}/cmdline`;
  if (!commandLine) return absent(source, 'the command line could not be read');
  const meminfo = known(files.parsed('/proc/meminfo', parseMeminfo));
  const huge = meminfo?.bytes.get('Hugepagesize');
  const told = machineMemory(commandLine, ram, huge === undefined ? null : Number(huge));
  return 'memory' in told ? ok(source, told.memory) : absent(source, told.unknown);
}

/** The part of it that only a monitor tells. */
export type AskedMigration = Pick<MigrationState, 'capabilities' | 'status'>;

const SOURCE = 'QMP query-migrate-capabilities, query-migrate';

/** Whether this QEMU migrates, and how. */
export async function readMigration(client: Pick<QmpClient, 'execute'>): Promise<Reading<AskedMigration>> {
  try {
    const capabilities = parseMigrateCapabilities(await client.execute('query-migrate-capabilities'));
    return ok(SOURCE, { capabilities, status: parseMigrateStatus(await client.execute('query-migrate')) });
  } catch (error) {
    if (error instanceof QmpError || error instanceof ParseError) return absent(SOURCE, error.message);
    throw error;
  }
}
