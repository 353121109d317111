import type { InstallPlan, PrivilegeRefusal } from '../model/contract.ts';
import { install, installPlan, readInstallState, uninstall } from '../sampler/broker-install.ts';
import type { Elevation } from '../sampler/elevation.ts';
import { CliError, EXIT } from './exit.ts';

const asRoot = (): Elevation => (process.geteuid?.() === 0 ? 'root' : 'sudo');

export async function runBrokerStatus(options: { json?: true }): Promise<void> {
  const plan = planned();
  const state = readInstallState();
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ schema: 'pinscope.broker/1', ...state, plan }, null, 2)}\n`);
  } else {
    const first = state.state === 'installed' ? 'installed' : `${state.state}: ${state.detail}`;
    process.stdout.write(`${first}\n\n${planText(plan)}`);
  }
  if (state.state !== 'installed') process.exitCode = EXIT.noRights;
}

export async function runBrokerInstall(): Promise<void> {
  const plan = planned();
  if (readInstallState().state === 'installed') {
    process.stdout.write('It is installed already.\n');
    return;
  }
  process.stderr.write(`As root, this puts there:\n\n${planText(plan)}`);
  done(await install(asRoot()));
  const state = readInstallState();
  if (state.state !== 'installed')
    throw new CliError(`it was installed, and still ${state.detail}`, EXIT.failed);
  process.stdout.write('Installed.\n');
}

export async function runBrokerRemove(): Promise<void> {
  done(await uninstall(asRoot()));
  process.stdout.write('Removed.\n');
}

function planned(): InstallPlan {
  try {
    return installPlan();
  } catch (error) {
    throw new CliError(error instanceof Error ? error.message : String(error), EXIT.failed);
  }
}

function done(refusal: PrivilegeRefusal | null): void {
  if (refusal === null) return;
  throw new CliError(refusal.detail, refusal.reason === 'failed' ? EXIT.failed : EXIT.noRights);
}

function planText({ files, removal }: InstallPlan): string {
  const parts = files.map(
    ({ path, bytes, sha256, mode, purpose }) =>
      `${path}\n  ${purpose}\n  ${bytes} bytes, root:root, mode ${mode}\n  sha256 ${sha256}\n`,
  );
  return `${parts.join('\n')}\nTo remove it all: pinscope broker remove, or\n  ${removal}\n`;
}
