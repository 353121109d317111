/** The broker of this build, started as sudo would start it: root is needed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { brokerFile, loadNative } from '../native/index.ts';

export interface TestBroker {
  readonly child: ChildProcess;
  /** Our end of its socket; the caller closes it. */
  readonly socket: number;
  /** Exit code, or signal. */
  readonly ended: Promise<number | string>;
}

/** Runs `use` with the effective user `uid`, as system calls see it. Not for what goes on later. */
export function asUser<T>(uid: number, use: () => T): T {
  process.seteuid?.(uid);
  try {
    return use();
  } finally {
    process.seteuid?.(0);
  }
}

/** @param uid who asks, and whose socket it is */
export async function startTestBroker(args: readonly string[], uid = 1000): Promise<TestBroker> {
  const [ours, theirs] = asUser(uid, () => loadNative().socketPair());
  const child = spawn(brokerFile(), args, {
    stdio: [theirs, 'pipe', 'inherit'],
    env: { SUDO_UID: String(uid) },
  });
  closeSync(theirs);
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string);
  await Promise.race([once(child.stdout ?? child, 'data'), ended]);
  return { child, socket: ours, ended };
}
