/**
 * Runs inside the VM: `inside.js run BOOT [TEXT]` runs the cases of a boot (those whose name holds TEXT) and writes
 * `$RESULTS/outcomes.json`; `inside.js figures` measures for the benchmark; `inside.js record` records this kernel's fixtures to
 * `$RESULTS/host` (`record-kernel`, `record-pools`: a part of it), `inside.js record-snapshot` one snapshot to
 * `$RESULTS/snapshot.json`, `inside.js record-session` samples to `$RESULTS/session.jsonl`, `inside.js record-trace` QEMU's traces
 * to `$RESULTS/trace`; `inside.js drive-privilege` is what cases run as an ordinary user.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BootId } from './boots.ts';
import { CaseContext, type RigCase, runsIn } from './case.ts';
import { cases } from './cases/index.ts';
import { measureFigures } from './figures.ts';
import { drivePrivilege } from './guest/privilege-driver.ts';
import { recordMachine } from './guest/record.ts';
import { recordKernel } from './guest/record-kernel.ts';
import { recordPools } from './guest/record-pools.ts';
import { recordSession } from './guest/record-session.ts';
import { recordSnapshot } from './guest/record-snapshot.ts';
import { recordTrace } from './guest/record-trace.ts';
import type { KernelId } from './kernels.ts';
import type { Outcome } from './outcome.ts';

const need = (name: string): string => {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: this runs inside the rig's VM`);
  return value;
};
const [command, bootId = '', text = ''] = process.argv.slice(2);
const results = need('RESULTS');
const root = need('PINSCOPE_ROOT');
const kernel = need('PINSCOPE_RIG_KERNEL') as KernelId;

async function runCase(rigCase: RigCase, index: number): Promise<Outcome> {
  const started = performance.now();
  const dir = `/tmp/case${index}`;
  mkdirSync(dir, { recursive: true });
  const t = new CaseContext(kernel, root, dir);
  let error: string | null = null;
  try {
    await rigCase.run(t);
  } catch (thrown) {
    error = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  }
  try {
    await t.end();
  } catch (thrown) {
    error ??= `at its end: ${String(thrown)}`;
  }
  if (error === null && t.checks.length === 0 && t.judgements.length === 0) error = 'it checked nothing';
  const seconds = (performance.now() - started) / 1000;
  return { name: rigCase.name, checks: t.checks, judged: t.judgements, error, seconds };
}

if (command === 'figures') {
  mkdirSync('/tmp/figures', { recursive: true });
  const t = new CaseContext(kernel, root, '/tmp/figures');
  writeFileSync(join(results, 'figures.json'), JSON.stringify(await measureFigures(t)));
  await t.end();
  process.exit();
} else if (command === 'record') {
  await recordMachine(join(results, 'host'), `${root}/dist/rig/buffers`);
  await recordKernel(join(results, 'host/kernel'), `${root}/dist/rig/buffers`);
  await recordPools(join(results, 'host/pools'), `${root}/dist/rig/buffers`);
} else if (command === 'record-kernel') {
  await recordKernel(join(results, 'kernel'), `${root}/dist/rig/buffers`);
} else if (command === 'record-pools') {
  await recordPools(join(results, 'pools'), `${root}/dist/rig/buffers`);
} else if (command === 'record-snapshot') {
  await recordSnapshot(join(results, 'snapshot.json'));
} else if (command === 'record-session') {
  await recordSession(join(results, 'session.jsonl'));
} else if (command === 'record-trace') {
  await recordTrace(join(results, 'trace'));
} else if (command === 'drive-privilege') {
  await drivePrivilege();
} else if (command === 'run') {
  const mine = cases.filter(each => runsIn(each, bootId as BootId, kernel, text));
  const outcomes: Outcome[] = [];
  for (const [index, rigCase] of mine.entries()) {
    outcomes.push(await runCase(rigCase, index));
    // After each case: what was found stays when a later one takes the VM down.
    writeFileSync(join(results, 'outcomes.json'), JSON.stringify({ expected: mine.length, outcomes }));
  }
  // What a failed case left open must not keep the VM up.
  process.exit();
} else {
  throw new Error(`inside.js: no command ${command}`);
}
