import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstatSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { InstallPlan, PrivilegeRefusal } from '../model/contract.ts';
import { brokerFile, policyFile } from '../native/index.ts';
import { type Elevation, elevated, refusalOf } from './elevation.ts';

/** Where the broker runs from. Fixed: the policy names it, and only root may write there. */
export const BROKER_PATH = '/usr/libexec/pinscope/pinscope-broker';
const POLICY_PATH = '/usr/share/polkit-1/actions/io.github.pinscope.policy';

interface InstallFile {
  readonly path: string;
  readonly content: Buffer;
  readonly mode: string;
  readonly purpose: string;
}

/** What this build would install. Throws the Error of {@link brokerFile} where it is not built. */
function ourFiles(): InstallFile[] {
  return [
    {
      path: BROKER_PATH,
      content: readFileSync(brokerFile()),
      mode: '755',
      purpose: 'The broker: opens files for Pinscope once you allowed it; not setuid, never runs by itself.',
    },
    {
      path: POLICY_PATH,
      content: readFileSync(policyFile()),
      mode: '644',
      purpose: 'The polkit policy: what you are asked, and that it takes an administrator’s password.',
    },
  ];
}

const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex');

const REMOVAL = `rm -rf ${dirname(BROKER_PATH)} ${POLICY_PATH}`;

export function installPlan(): InstallPlan {
  return {
    files: ourFiles().map(({ path, content, mode, purpose }) => ({
      path,
      bytes: content.byteLength,
      sha256: sha256(content),
      mode,
      purpose,
    })),
    removal: `sudo ${REMOVAL}`,
  };
}

export type InstallState =
  /** All of it is there, as this build has it, and nobody but root may write it. */
  | { readonly state: 'installed' }
  | {
      /** `different`: of another build, or changed. `unsafe`: others than root may write it. */
      readonly state: 'missing' | 'different' | 'unsafe';
      /** The file that is so, and why; a sentence without its end. */
      readonly detail: string;
    };

export function readInstallState(): InstallState {
  for (const { path, content } of ourFiles()) {
    for (const each of [dirname(path), path]) {
      const stat = lstatSync(each, { throwIfNoEntry: false });
      if (stat === undefined) return { state: 'missing', detail: `${each} is not there` };
      if (
        stat.uid !== 0 ||
        (stat.mode & 0o022) !== 0 ||
        !(each === path ? stat.isFile() : stat.isDirectory())
      ) {
        return { state: 'unsafe', detail: `${each} may be written by others than root` };
      }
    }
    if (!readFileSync(path).equals(content)) {
      return { state: 'different', detail: `${path} is not the one of this Pinscope` };
    }
  }
  return { state: 'installed' };
}

/**
 * Runs as root, with all contents on its standard input, one after the other: root cannot read the mount of an AppImage. Each
 * file is checked where it arrived, in a directory that only root may write, and then takes its place at once.
 */
function installScript(files: readonly InstallFile[]): string {
  const lines = files.map(({ path, content, mode }) =>
    ['put', path, mode, content.byteLength, sha256(content)].join(' '),
  );
  return `set -eu
umask 022
put() {
  mkdir -p "\${1%/*}"
  dd bs="$3" count=1 iflag=fullblock of="$1.new" 2>/dev/null
  echo "$4  $1.new" | sha256sum -c >/dev/null || { rm -f "$1.new"; echo "$1 did not arrive whole" >&2; exit 10; }
  chown 0:0 "$1.new"
  chmod "$2" "$1.new"
  mv -f "$1.new" "$1"
}
${lines.join('\n')}
`;
}

/** Puts it there: one command as root, asked for by `how`. `null`: it is done. */
export function install(how: Elevation): Promise<PrivilegeRefusal | null> {
  const files = ourFiles();
  return runAsRoot(how, installScript(files), Buffer.concat(files.map(({ content }) => content)), 'install');
}

/** Takes all of it away. `null`: it is done. */
export function uninstall(how: Elevation): Promise<PrivilegeRefusal | null> {
  return runAsRoot(how, REMOVAL, Buffer.alloc(0), 'remove');
}

async function runAsRoot(
  how: Elevation,
  script: string,
  input: Buffer,
  what: string,
): Promise<PrivilegeRefusal | null> {
  const { command, args, env } = elevated(how, ['/bin/sh', '-c', script]);
  const child = spawn(command, args, {
    stdio: ['pipe', 'ignore', how === 'pkexec' ? 'pipe' : 'inherit'],
    env,
  });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(0, 4096);
  });
  // A command that was refused does not read it.
  child.stdin?.on('error', () => {});
  child.stdin?.end(input);
  const end = await new Promise<{ code: number | null; error: Error | null }>(resolve => {
    child.once('error', error => resolve({ code: null, error }));
    child.once('close', code => resolve({ code, error: null }));
  });
  if (end.code === 0) return null;
  return refusalOf(how, end, said, `Nothing could ${what} the broker`);
}
