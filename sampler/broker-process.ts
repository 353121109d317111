import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import type { PrivilegeLevel, PrivilegeRefusal, TargetId } from '../model/contract.ts';
import type { Native } from '../native/index.ts';
import { Broker } from './broker.ts';
import { BROKER_PATH } from './broker-install.ts';
import { type Elevation, elevated, refusalOf } from './elevation.ts';

export interface BrokerRequestedFor {
  readonly how: Exclude<Elevation, 'root'>;
  readonly level: PrivilegeLevel;
  /** At level `pages`: the process. */
  readonly target: TargetId | null;
  /** Ends the asking. */
  readonly signal?: AbortSignal;
}

export interface RunningBroker {
  readonly broker: Broker;
  /** Resolves when the process has ended, with why. */
  readonly ended: Promise<string>;
}

/**
 * Asks the user by pkexec or sudo, and answers when that is decided. The broker ends when {@link Broker.close} was called, or when
 * this process ends.
 * @param onLost the broker is gone though nobody closed it
 */
export async function startBroker(
  native: Native,
  { how, level, target, signal }: BrokerRequestedFor,
  onLost: (detail: string) => void,
): Promise<RunningBroker | PrivilegeRefusal> {
  if (level === 'pages' && target === null) {
    return { reason: 'failed', detail: 'The grant of pages is for one process: which one?' };
  }
  const [ours, theirs] = native.socketPair();
  let child: ChildProcess;
  try {
    const argv =
      level === 'pages' && target !== null ? [level, String(target.pid), target.startTime] : [level];
    const { command, args, env } = elevated(how, [BROKER_PATH, ...argv]);
    // Both close every descriptor above 2, so the socket is the broker's standard input. sudo asks on the terminal.
    const stderr = how === 'pkexec' ? 'pipe' : 'inherit';
    child = spawn(command, args, { stdio: [theirs, 'pipe', stderr], env, ...(signal ? { signal } : {}) });
  } catch (error) {
    closeSync(ours);
    throw error;
  } finally {
    closeSync(theirs);
  }
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(0, 4096);
  });
  const ended = new Promise<{ code: number | null; error: Error | null }>(resolve => {
    child.once('error', error => resolve({ code: null, error }));
    child.once('close', code => resolve({ code, error: null }));
  });
  const ready = new Promise<'ready'>(resolve => child.stdout?.once('data', () => resolve('ready')));
  const first = await Promise.race([ready, ended]);
  if (first !== 'ready') {
    closeSync(ours);
    return refusalOf(how, first, said, 'The broker did not start');
  }
  try {
    const broker = Broker.connect(native, ours, onLost);
    const why = ended.then(({ code }) => `it ended with ${code === null ? 'a signal' : `exit code ${code}`}`);
    return { broker, ended: why };
  } catch (error) {
    return { reason: 'failed', detail: error instanceof Error ? error.message : String(error) };
  }
}
