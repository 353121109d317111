/**
 * The sampler with its privilege, as a program that a case runs as an ordinary user and tells what to do: one JSON command a line
 * on standard input, one JSON answer a line. Ends with its input.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import type { PrivilegeLevel, PrivilegeState, TargetId } from '../../../model/contract.ts';
import type { Snapshot } from '../../../model/snapshot.ts';
import { openHost } from '../../../sampler/access.ts';
import { Privilege } from '../../../sampler/privilege.ts';
import { Sampler } from '../../../sampler/sampler.ts';

type Command =
  | {
      readonly do: 'grant';
      readonly level: PrivilegeLevel;
      readonly target: TargetId | null;
      readonly install: boolean;
    }
  | { readonly do: 'revoke' | 'state' | 'changes' | 'descriptors' }
  | { readonly do: 'snapshot'; readonly pid: number };

/** Runs until its input ends. */
export async function drivePrivilege(): Promise<void> {
  const host = openHost();
  const sampler = new Sampler(host);
  const privilege = new Privilege(host, 'pkexec');
  const changes: PrivilegeState[] = [];
  privilege.onChange(state => {
    changes.push(state);
    sampler.rightsChanged();
  });
  const answer = async (command: Command): Promise<unknown> => {
    switch (command.do) {
      case 'grant':
        return privilege.grant(command.level, command.target, command.install);
      case 'revoke':
        return privilege.revoke();
      case 'state':
        return privilege.state;
      case 'changes':
        return changes;
      case 'snapshot':
        return sampler.snapshot(command.pid);
      case 'descriptors':
        return descriptors();
    }
  };
  for await (const line of createInterface({ input: process.stdin })) {
    const value = await answer(JSON.parse(line) as Command);
    process.stdout.write(`${JSON.stringify(value)}\n`);
  }
  await privilege.revoke();
  sampler.close();
}

/** Files below /proc and /sys that this process has open. */
function descriptors(): string[] {
  return readdirSync('/proc/self/fd').flatMap(fd => {
    try {
      const link = readlinkSync(`/proc/self/fd/${fd}`);
      return /^\/(proc\/(\d+\/(pagemap|s?maps|fdinfo)|k)|sys\/kernel\/debug)/.test(link) ? [link] : [];
    } catch {
      return [];
    }
  });
}

/** The other side of {@link drivePrivilege}, in the case. */
export class PrivilegeDriver {
  private constructor(
    private readonly child: ChildProcessByStdio<Writable, Readable, null>,
    private readonly lines: AsyncIterator<string>,
  ) {}

  static start(root: string, before: readonly string[]): PrivilegeDriver {
    const [program = '', ...rest] = [
      ...before,
      process.execPath,
      `${root}/dist/rig/inside.js`,
      'drive-privilege',
    ];
    const child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
    return new PrivilegeDriver(child, createInterface({ input: child.stdout })[Symbol.asyncIterator]());
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  grant(level: PrivilegeLevel, target: TargetId | null, install = false): Promise<PrivilegeState> {
    return this.ask({ do: 'grant', level, target, install });
  }

  revoke(): Promise<PrivilegeState> {
    return this.ask({ do: 'revoke' });
  }

  state(): Promise<PrivilegeState> {
    return this.ask({ do: 'state' });
  }

  changes(): Promise<PrivilegeState[]> {
    return this.ask({ do: 'changes' });
  }

  /** Privileged files that it has open. */
  descriptors(): Promise<string[]> {
    return this.ask({ do: 'descriptors' });
  }

  async snapshot(pid: number): Promise<Snapshot> {
    const reading = await this.ask<{ state: string; value: Snapshot }>({ do: 'snapshot', pid });
    if (reading.state !== 'ok') throw new Error(`snapshot of ${pid}: ${JSON.stringify(reading)}`);
    return reading.value;
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }

  async quit(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise(resolve => this.child.once('close', resolve));
    this.child.stdin.end();
    await ended;
  }

  private async ask<T>(command: Command): Promise<T> {
    this.child.stdin.write(`${JSON.stringify(command)}\n`);
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`the driver ended before it answered ${JSON.stringify(command)}`);
    return JSON.parse(value) as T;
  }
}
