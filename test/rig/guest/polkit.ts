/**
 * A real polkit in the VM: message bus, polkitd, pkexec with its setuid bit (the export of the host's tree does not carry
 * it), and a user to ask for.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';

/**
 * `ask`: the policies decide; nobody runs an agent here that could ask. `installing`: yes also to any other command by pkexec, which
 * is how the broker is installed.
 */
export type PolkitAnswer = 'yes' | 'no' | 'ask' | 'installing';

const RULES = '/etc/polkit-1/rules.d/00-pinscope-rig.rules';

export class Polkit {
  private constructor(private readonly daemon: ChildProcess) {}

  /** Starts what is not there yet. The bus stays until the VM ends; a second polkitd would take the name from nobody. */
  static async start(answer: PolkitAnswer): Promise<Polkit> {
    for (const file of ['/usr/bin/pkexec', '/usr/lib/polkit-1/polkit-agent-helper-1', '/usr/bin/sudo']) {
      // In this order: chown clears the bit.
      chownSync(file, 0, 0);
      chmodSync(file, 0o4755);
    }
    ensureUser(1000);
    if (!existsSync('/run/dbus/system_bus_socket')) {
      mkdirSync('/run/dbus', { recursive: true });
      must('dbus-daemon', '--system', '--fork');
    }
    writeRules(answer);
    const program = ['/usr/lib/polkit-1/polkitd', '/usr/libexec/polkitd'].find(path => existsSync(path));
    if (program === undefined) throw new Error('polkitd is not installed');
    const daemon = spawn(program, ['--no-debug'], { stdio: ['ignore', 'ignore', 'inherit'] });
    const polkit = new Polkit(daemon);
    await polkit.untilItAnswers();
    return polkit;
  }

  /** Restarts polkitd with another answer: it then surely has read the rules and the policies that there are. */
  async answer(answer: PolkitAnswer): Promise<Polkit> {
    await this.stop();
    return Polkit.start(answer);
  }

  async stop(): Promise<void> {
    rmSync(RULES, { force: true });
    if (this.daemon.exitCode !== null || this.daemon.signalCode !== null) return;
    const ended = new Promise(resolve => this.daemon.once('exit', resolve));
    this.daemon.kill('SIGTERM');
    await ended;
  }

  private async untilItAnswers(): Promise<void> {
    for (let i = 0; i < 100; i++) {
      if (spawnSync('pkaction', ['--action-id', 'org.freedesktop.policykit.exec']).status === 0) return;
      await new Promise(resolve => setTimeout(resolve, 200));
    }
    throw new Error('polkitd does not answer');
  }
}

/** sudo without a password for this user, for the time of a VM. */
export function allowSudo(uid: number): void {
  ensureUser(uid);
  chownSync('/etc/sudoers', 0, 0);
  // Else it looks the machine's name up, and waits for it.
  appendFileSync('/etc/hosts', `127.0.0.1 ${hostname()}\n`);
  writeFileSync('/etc/sudoers.d/pinscope-rig', `#${uid} ALL=(root) NOPASSWD: ALL\n`, { mode: 0o440 });
}

/** pkexec and sudo serve only users who have a name. */
function ensureUser(uid: number): void {
  const known = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .some(line => line.split(':')[2] === String(uid));
  if (!known) appendFileSync('/etc/passwd', `rig${uid}:x:${uid}:${uid}::/tmp:/bin/sh\n`);
}

function writeRules(answer: PolkitAnswer): void {
  const ours = "action.id.indexOf('io.github.pinscope.') === 0";
  const rules: Readonly<Record<PolkitAnswer, string>> = {
    yes: `if (${ours}) return polkit.Result.YES;`,
    no: `if (${ours}) return polkit.Result.NO;`,
    ask: '',
    installing: `if (${ours} || action.id === 'org.freedesktop.policykit.exec') return polkit.Result.YES;`,
  };
  mkdirSync('/etc/polkit-1/rules.d', { recursive: true });
  chmodSync('/etc/polkit-1/rules.d', 0o755);
  writeFileSync(RULES, `polkit.addRule(function (action) { ${rules[answer]} });\n`, { mode: 0o644 });
}

function must(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command}: ${stderr}`);
}
