/**
 * `npm run test:rig`: boots the kernels and runs the cases. Arguments: `--kernel 6.12`, `--boot zones`, `--case TEXT` (part of a name,
 * or `one|other`), `--console`; or `prepare`, which only fetches and builds the kernels; or `record KERNEL…`
 * (`record-kernel`, `record-pools`: a part of it), `record-trace`, `record-snapshot` and `record-session`, which make test/fixtures,
 * the bundled snapshot and the bundled session anew; or `precision`, which writes the table of docs/HAZARDS.md from precision.json.
 * `--write-precision` puts what the rules said in this run into both.
 * Ends with a line `N passed, N failed`; a case that could not run is a failure, never skipped.
 */
import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Boot, boots } from './boots.ts';
import { makeBundledSession } from './bundled-session.ts';
import { runsIn } from './case.ts';
import { cases } from './cases/index.ts';
import { projectRoot } from './host.ts';
import { ensureKernel, type Kernel, type KernelId, kernelIds } from './kernels.ts';
import { nestedGuestEnvironment } from './nested.ts';
import { type Outcome, passed } from './outcome.ts';
import { type OutsideBrowser, startOutsideBrowser } from './outside-browser.ts';
import { precisionFailures, type SeenSituation, withSeen } from './precision.ts';
import { pageShows, readExpected, writePrecision } from './precision-files.ts';
import { recordBundledSnapshot, recordFixtures, recordSessionLines, recordTraces } from './record.ts';
import { recordKernelFixtures } from './record-kernel.ts';
import { runVm } from './vm.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    kernel: { type: 'string' },
    boot: { type: 'string' },
    case: { type: 'string', default: '' },
    console: { type: 'boolean', default: false },
    'write-precision': { type: 'boolean', default: false },
  },
});

const report = (line: string) => process.stderr.write(`${line}\n`);
const insideProgram = join(projectRoot(), 'dist/rig/inside.js');
const shellQuote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

interface Job {
  readonly boot: Boot;
  readonly kernel: KernelId;
  readonly expected: number;
}

/** Cases of a boot on a kernel. */
const expectedCases = (boot: Boot, kernel: KernelId): number =>
  cases.filter(each => runsIn(each, boot.id, kernel, values.case)).length;

/** Pictures of the window stay in dist/pictures, to be looked at. */
function keepPictures(results: string): void {
  const pictures = join(results, 'pictures');
  if (existsSync(pictures)) cpSync(pictures, join(projectRoot(), 'dist/pictures'), { recursive: true });
}

const processors = ({ boot }: Pick<Job, 'boot'>): number => boot.cpus ?? 1;

interface Total {
  readonly passed: number;
  readonly failed: number;
  readonly seen: readonly SeenSituation[];
}

async function runJob({ boot, kernel: id, expected }: Job, kernel: Kernel): Promise<Total> {
  const title = `${id}, boot “${boot.id}”`;
  let outcomes: Outcome[] = [];
  let trouble: string | null = null;
  let browser: OutsideBrowser | null = null;
  const started = performance.now();
  try {
    if (boot.outsideBrowser) browser = await startOutsideBrowser();
    const vm = await runVm({
      kernel,
      append: boot.append,
      memoryMiB: boot.memoryMiB,
      cpus: processors({ boot }),
      timeoutSeconds: boot.timeoutSeconds,
      qemuArgs: [...(boot.qemuArgs ?? []), ...(browser?.qemuArgs ?? [])],
      env: {
        ...browser?.env,
        ...(boot.id === 'nested' ? await nestedGuestEnvironment(id, report) : {}),
      },
      job: `exec ${shellQuote(process.execPath)} ${shellQuote(insideProgram)} run ${boot.id} ${shellQuote(values.case)}`,
      ...(values.console ? { onConsole: (text: string) => void process.stderr.write(text) } : {}),
    });
    const file = join(vm.resultsDir, 'outcomes.json');
    if (existsSync(file)) outcomes = JSON.parse(readFileSync(file, 'utf8')).outcomes as Outcome[];
    keepPictures(vm.resultsDir);
    rmSync(vm.resultsDir, { recursive: true, force: true });
    if (vm.exitCode !== 0)
      trouble = `the job ended with ${vm.exitCode}:\n${vm.console.trimEnd().split('\n').slice(-20).join('\n')}`;
  } catch (error) {
    trouble = error instanceof Error ? error.message : String(error);
  }
  await browser?.close();
  const lines = [`${title}: ${((performance.now() - started) / 1000).toFixed(0)} s`];
  for (const outcome of outcomes) {
    const held = outcome.checks.filter(({ failure }) => failure === null).length;
    const mark = passed(outcome) ? 'ok    ' : 'FAILED';
    lines.push(
      `  ${mark} ${outcome.name} (${held} of ${outcome.checks.length} checks, ${outcome.seconds.toFixed(1)} s)`,
    );
    for (const { what, failure } of outcome.checks)
      if (failure !== null) lines.push(`         ${what}: ${failure}`);
    if (outcome.error !== null) lines.push(`         ${outcome.error.split('\n').join('\n         ')}`);
  }
  const good = outcomes.filter(passed).length;
  // Cases that were to run and left no outcome have failed.
  if (outcomes.length < expected) trouble ??= `${expected - outcomes.length} cases did not report`;
  if (trouble !== null) lines.push(`  FAILED ${trouble.split('\n').join('\n         ')}`);
  process.stdout.write(`${lines.join('\n')}\n`);
  const failed = Math.max(expected, outcomes.length) - good;
  const seen = outcomes.flatMap(({ judged }) => judged.map(each => ({ ...each, boot: boot.id, kernel: id })));
  return { passed: good, failed: trouble !== null ? Math.max(1, failed) : failed, seen };
}

/** Compares what the rules said with the table, prints each difference, and returns how many there are. */
function checkPrecision(seen: readonly SeenSituation[], ran: readonly Job[]): number {
  const expected = readExpected();
  if (values['write-precision']) {
    writePrecision(withSeen(expected, seen));
    return 0;
  }
  const whole = values.case === '' ? ran.map(({ boot, kernel }) => ({ boot: boot.id, kernel })) : [];
  const failures = precisionFailures(expected, seen, whole);
  if (!pageShows(expected)) failures.push('docs/HAZARDS.md does not show test/rig/precision.json');
  process.stdout.write(
    `precision: ${seen.length} situations on their kernels, ${failures.length} not as expected\n`,
  );
  for (const failure of failures) process.stdout.write(`  FAILED ${failure}\n`);
  return failures.length;
}

async function runAll(): Promise<boolean> {
  const jobs = boots
    .filter(({ id }) => values.boot === undefined || values.boot === id)
    .flatMap(boot => boot.kernels.map(kernel => ({ boot, kernel, expected: expectedCases(boot, kernel) })))
    .filter(({ kernel }) => values.kernel === undefined || values.kernel === kernel)
    .filter(({ expected }) => expected > 0);
  if (jobs.length === 0) throw new Error('no case fits these arguments');
  // Long jobs first, and kernels that must be built last: the build runs beside the others.
  const kernels = new Map(kernelIds.map(id => [id, undefined as Promise<Kernel> | undefined]));
  for (const { kernel } of jobs) if (!kernels.get(kernel)) kernels.set(kernel, ensureKernel(kernel, report));
  for (const kernel of kernels.values()) kernel?.catch(() => {});
  const order = [...jobs].sort(
    (a, b) =>
      Number(a.kernel === '6.1') - Number(b.kernel === '6.1') ||
      b.boot.timeoutSeconds - a.boot.timeoutSeconds,
  );
  const total = { passed: 0, failed: 0 };
  const seen: SeenSituation[] = [];
  let running = 0;
  /** Not beside one of two processors another of two, while there are others: four emulated ones mostly wait for each other. */
  const next = (): Job | undefined => {
    const fits = order.findIndex(job => running + processors(job) <= 3);
    return order.splice(Math.max(0, fits), 1)[0];
  };
  const worker = async () => {
    for (let job = next(); job; job = next()) {
      let result: Total;
      running += processors(job);
      try {
        result = await runJob(job, await (kernels.get(job.kernel) as Promise<Kernel>));
      } catch (error) {
        process.stdout.write(
          `${job.kernel}: FAILED ${error instanceof Error ? error.message : String(error)}\n`,
        );
        result = { passed: 0, failed: job.expected, seen: [] };
      }
      running -= processors(job);
      total.passed += result.passed;
      total.failed += result.failed;
      seen.push(...result.seen);
    }
  };
  // Two at once: a VM waits for its disk and its clock as often as for a processor.
  await Promise.all([worker(), worker()]);
  total.failed += checkPrecision(seen, jobs);
  process.stdout.write(`\nrig: ${total.passed} passed, ${total.failed} failed\n`);
  return total.failed === 0;
}

if (positionals[0] === 'prepare') {
  for (const kernel of await Promise.all(kernelIds.map(id => ensureKernel(id, report))))
    report(`${kernel.id}: ${kernel.release}`);
} else if (positionals[0] === 'precision') {
  writePrecision(readExpected());
} else if (positionals[0] === 'record-snapshot') {
  const kernel = await ensureKernel('6.12', report);
  report(
    await recordBundledSnapshot(
      kernel,
      `${shellQuote(process.execPath)} ${shellQuote(insideProgram)} record-snapshot`,
    ),
  );
} else if (positionals[0] === 'record-session') {
  const kernel = await ensureKernel('6.12', report);
  const inside = `${shellQuote(process.execPath)} ${shellQuote(insideProgram)} record-session`;
  report(await makeBundledSession(await recordSessionLines(kernel, inside)));
} else if (positionals[0] === 'record-trace') {
  const kernel = await ensureKernel('6.12', report);
  report(
    await recordTraces(kernel, `${shellQuote(process.execPath)} ${shellQuote(insideProgram)} record-trace`),
  );
} else if (positionals[0] === 'record-kernel' || positionals[0] === 'record-pools') {
  const part = positionals[0] === 'record-kernel' ? 'kernel' : 'pools';
  for (const id of positionals.slice(1).length > 0 ? positionals.slice(1) : kernelIds) {
    const kernel = await ensureKernel(id as KernelId, report);
    const command = `${shellQuote(process.execPath)} ${shellQuote(insideProgram)} record-${part}`;
    report(await recordKernelFixtures(kernel, part, command));
  }
} else if (positionals[0] === 'record') {
  for (const id of positionals.slice(1).length > 0 ? positionals.slice(1) : kernelIds) {
    const kernel = await ensureKernel(id as KernelId, report);
    report(
      await recordFixtures(kernel, `${shellQuote(process.execPath)} ${shellQuote(insideProgram)} record`),
    );
  }
} else {
  process.exitCode = (await runAll()) ? 0 : 1;
}
