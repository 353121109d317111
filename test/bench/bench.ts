/** `npm run bench [-- --json] [NAME…]`: measures, and prints a table or one document. */
import { kernelTables } from './kernel-tables.ts';
import { pageMap64Gib, pageMapFragmented } from './page-map.ts';
import { resourcesTable } from './resources-table.ts';
import { type Bench, type BenchResult, Skip } from './result.ts';
import { coldStart, sampleGigabyte, snapshotCpu, windowMemory } from './rig.ts';
import { scanHugetlb2m, scanShmem4k } from './scan.ts';
import { sessionDay } from './session.ts';
import { wire64, wire10000 } from './wire.ts';

const benches: readonly Bench[] = [
  scanShmem4k,
  scanHugetlb2m,
  kernelTables,
  wire64,
  wire10000,
  coldStart,
  snapshotCpu,
  sampleGigabyte,
  windowMemory,
  pageMap64Gib,
  pageMapFragmented,
  sessionDay,
  resourcesTable,
];

async function main(args: readonly string[]): Promise<number> {
  const json = args.includes('--json');
  const names = args.filter(arg => arg !== '--json');
  const unknown = names.find(name => !benches.some(bench => bench.name === name));
  if (unknown !== undefined) {
    process.stderr.write(
      `unknown benchmark ${unknown}; there are ${benches.map(bench => bench.name).join(', ')}\n`,
    );
    return 2;
  }
  const results: BenchResult[] = [];
  for (const bench of benches) {
    if (names.length > 0 && !names.includes(bench.name)) continue;
    const result = await run(bench);
    results.push(result);
    if (!json) process.stdout.write(`${text(result)}\n`);
  }
  if (json) process.stdout.write(`${JSON.stringify({ schema: 'pinscope.bench/1', results }, null, 2)}\n`);
  return 0;
}

async function run(bench: Bench): Promise<BenchResult> {
  try {
    return await bench.run();
  } catch (error) {
    if (!(error instanceof Skip)) throw error;
    return { name: bench.name, unit: 'ms', value: null, baseline: null, ratio: null, skipped: error.message };
  }
}

function text(result: BenchResult): string {
  const name = result.name.padEnd(22);
  if (result.value === null) return `${name} skipped: ${result.skipped}`;
  const against =
    result.baseline === null || result.ratio === null
      ? ''
      : `  baseline ${result.baseline.toFixed(3)} ${result.unit}  ratio ${result.ratio.toFixed(3)}`;
  const details = Object.entries(result.details ?? {}).map(
    ([key, value]) => `${key} ${Number.isInteger(value) ? value : value.toFixed(3)}`,
  );
  return `${name} ${result.value.toFixed(3)} ${result.unit}${against}  (${details.join(', ')})`;
}

process.exitCode = await main(process.argv.slice(2));
