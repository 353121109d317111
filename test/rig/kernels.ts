/**
 * The kernels that the rig boots, fetched or built once into a cache.
 *
 * - `6.12`, `7.2`: Debian's own binary packages (bookworm-backports and sid), unpacked, not installed.
 * - `6.1`: Debian's `linux-source-6.1`, built with `kernel-6.1-page-refs.config`, because Debian's binary has
 *   CONFIG_UDMABUF off and its udmabuf still takes plain page references.
 *
 * Packages come through a private apt state below the cache directory, from the mirror that apt on this machine
 * already uses, and apt checks them against Debian's archive keys; no root is needed. A result appears in the
 * cache by one rename of a finished directory, so a killed download or build leaves nothing that is later used.
 *
 * Cache: `kernels/<id>-<key>/{bzImage,kernel.json,lib/modules/<release>}`, `apt/<id>/`, `logs/`, `locks/`.
 */
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { cacheDir, projectRoot, type Requirement, RigError, requirePackages, run, withLock } from './host.ts';

export type KernelId = '6.1' | '6.12' | '7.2';

export const kernelIds: readonly KernelId[] = ['6.12', '7.2', '6.1'];

export interface Kernel {
  readonly id: KernelId;
  /** What `uname -r` says in it. */
  readonly release: string;
  /** Version of the Debian package it comes from. */
  readonly packageVersion: string;
  /** Absolute path of the image to boot. */
  readonly bzImage: string;
  /** Absolute path of `lib/modules/<release>` with a `modules.dep`; null when all drivers are built in. */
  readonly modulesDir: string | null;
}

/** Progress in words, one line a call. */
export type Report = (line: string) => void;

const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

const downloadNeeds: readonly Requirement[] = [
  { path: 'apt-get', debianPackage: 'apt' },
  { path: 'dpkg-deb', debianPackage: 'dpkg' },
  { path: keyring, debianPackage: 'debian-archive-keyring' },
  { path: 'depmod', debianPackage: 'kmod' },
  { path: 'xz', debianPackage: 'xz-utils' },
];

const buildNeeds: readonly Requirement[] = [
  { path: 'gcc', debianPackage: 'gcc' },
  { path: 'make', debianPackage: 'make' },
  { path: 'flex', debianPackage: 'flex' },
  { path: 'bison', debianPackage: 'bison' },
  { path: 'bc', debianPackage: 'bc' },
  { path: 'lz4', debianPackage: 'lz4' },
  { path: 'pahole', debianPackage: 'dwarves' },
  { path: 'perl', debianPackage: 'perl' },
  { path: '/usr/include/gelf.h', debianPackage: 'libelf-dev' },
  { path: '/usr/include/openssl/opensslv.h', debianPackage: 'libssl-dev' },
];

/**
 * The kernel from the cache, or null when it is not there yet. Touches no network and takes no lock.
 * A 6.1 built with another configuration than the tree's present one does not count.
 */
export function cachedKernel(id: KernelId): Kernel | null {
  const suffix = id === '6.1' ? `-${configHash()}` : '';
  const found = readdirSync(kernelsDir())
    .filter(name => name.startsWith(`${id}-`) && name.endsWith(suffix))
    .map(name => join(kernelsDir(), name))
    .filter(dir => existsSync(join(dir, 'kernel.json')))
    .sort((a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs)
    .at(-1);
  if (found === undefined) return null;
  const { release, packageVersion } = JSON.parse(readFileSync(join(found, 'kernel.json'), 'utf8')) as {
    release: string;
    packageVersion: string;
  };
  const modules = join(found, 'lib', 'modules', release);
  return {
    id,
    release,
    packageVersion,
    bzImage: join(found, 'bzImage'),
    modulesDir: existsSync(modules) ? modules : null,
  };
}

/**
 * The kernel, fetched or built first when the cache lacks it. Safe to call from several processes at once: the
 * others wait for the first. A build of 6.1 takes about eleven minutes of two processors at low priority; start
 * it without awaiting it and go on with the others.
 * @throws RigError when a package is missing on this machine or the mirror has none
 */
export async function ensureKernel(id: KernelId, report: Report = () => {}): Promise<Kernel> {
  const cached = cachedKernel(id);
  if (cached !== null) return cached;
  const lock = join(cacheDir(), 'locks', `kernel-${id}`);
  const waiting = () => report(`kernel ${id}: another process is preparing it, waiting`);
  return await withLock(
    lock,
    async () => {
      const meanwhile = cachedKernel(id);
      if (meanwhile !== null) return meanwhile;
      removeLeftovers(id);
      const started = Date.now();
      if (id === '6.1') await build(report);
      else await unpack(id, report);
      report(`kernel ${id}: ready after ${Math.round((Date.now() - started) / 1000)} s`);
      const kernel = cachedKernel(id);
      if (kernel === null) throw new Error(`kernel ${id} is not in the cache after it was prepared`);
      return kernel;
    },
    waiting,
  );
}

function kernelsDir(): string {
  const dir = join(cacheDir(), 'kernels');
  mkdirSync(dir, { recursive: true });
  return dir;
}

function configFile(): string {
  return join(projectRoot(), 'test/rig/kernel-6.1-page-refs.config');
}

function configHash(): string {
  return createHash('sha256').update(readFileSync(configFile())).digest('hex').slice(0, 12);
}

/**
 * Where this process puts a kernel together before its rename. Not the name of another process: a `make` whose parent
 * was killed may still be writing there.
 */
function stagingDir(id: KernelId): string {
  return join(kernelsDir(), `.staging-${id}-${process.pid}`);
}

/** Removes what earlier holders of the kernel's lock left behind. */
function removeLeftovers(id: KernelId): void {
  for (const name of readdirSync(kernelsDir())) {
    if (!name.startsWith(`.staging-${id}-`)) continue;
    rmSync(join(kernelsDir(), name), { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}

function publish(
  id: KernelId,
  staged: string,
  key: string,
  facts: { release: string; packageVersion: string },
): void {
  writeFileSync(join(staged, 'kernel.json'), `${JSON.stringify(facts, null, 2)}\n`);
  const target = join(kernelsDir(), `${id}-${key}`);
  rmSync(target, { recursive: true, force: true });
  renameSync(staged, target);
  removeLeftovers(id);
}

async function unpack(id: '6.12' | '7.2', report: Report): Promise<void> {
  requirePackages(`fetch the ${id} kernel`, downloadNeeds);
  const apt = await openApt(
    id,
    [{ archive: 'debian', suite: id === '6.12' ? 'bookworm-backports' : 'sid' }],
    report,
  );
  const packages = id === '6.12' ? await imagePackage(apt, '6.12') : await splitPackages(apt, '7.2');
  const version = await apt.candidate(packages[0] as string);
  report(`kernel ${id}: downloading ${packages.join(' and ')} ${version}`);
  const work = stagingDir(id);
  const tree = join(work, 'tree');
  mkdirSync(tree, { recursive: true });
  for (const name of packages) await run('dpkg-deb', ['-x', await apt.download(name, work), tree]);

  // Packages built for merged /usr say usr/lib, older ones lib; sid's keep the image beside the modules.
  const modules = [join(tree, 'usr/lib/modules'), join(tree, 'lib/modules')].find(existsSync);
  const release = modules === undefined ? undefined : readdirSync(modules)[0];
  if (modules === undefined || release === undefined) {
    throw new RigError(`The Debian package ${packages.at(-1)} ${version} holds no modules.`);
  }
  const image = [join(tree, 'boot', `vmlinuz-${release}`), join(modules, release, 'vmlinuz')].find(
    existsSync,
  );
  if (image === undefined)
    throw new RigError(`The Debian package ${packages[0]} ${version} holds no kernel image.`);
  const done = join(work, 'done');
  mkdirSync(join(done, 'lib/modules'), { recursive: true });
  renameSync(image, join(done, 'bzImage'));
  renameSync(join(modules, release), join(done, 'lib/modules', release));
  await run('depmod', ['-b', done, release]);
  publish(id, done, version, { release, packageVersion: version });
}

/** Newest `linux-image-<series>.*-amd64`, signed or not; not the cloud, rt or dbg flavours. */
async function imagePackage(apt: PrivateApt, series: string): Promise<string[]> {
  const pattern = new RegExp(`^linux-image-(${series.replace('.', '\\.')}\\.[^-]+-amd64)(-unsigned)?$`);
  return [await apt.newest('linux-image-', pattern)];
}

/** Newest `linux-binary-<series>.*-amd64` with its modules package; one `linux-image` where they are not split. */
async function splitPackages(apt: PrivateApt, series: string): Promise<string[]> {
  const binary = await apt
    .newest(
      'linux-binary-',
      new RegExp(`^linux-binary-(unsigned-)?${series.replace('.', '\\.')}\\.[^-]+-amd64$`),
    )
    .catch(() => null);
  if (binary === null) return await imagePackage(apt, series);
  return [binary, binary.replace(/^linux-binary-(unsigned-)?/, 'linux-modules-')];
}

async function build(report: Report): Promise<void> {
  requirePackages('build the 6.1 kernel', [...downloadNeeds, ...buildNeeds]);
  const hash = configHash();
  const apt = await openApt(
    '6.1',
    [
      { archive: 'debian', suite: 'bookworm' },
      { archive: 'debian', suite: 'bookworm-updates' },
      { archive: 'security', suite: 'bookworm-security' },
    ],
    report,
  );
  const version = await apt.candidate('linux-source-6.1');
  const log = join(cacheDir(), 'logs', `kernel-6.1-${version}.log`);
  mkdirSync(join(cacheDir(), 'logs'), { recursive: true });
  writeFileSync(log, '');
  report(`kernel 6.1: building ${version}, log ${log}`);
  const work = stagingDir('6.1');
  mkdirSync(work, { recursive: true });
  const deb = await apt.download('linux-source-6.1', work);
  await run('dpkg-deb', ['-x', deb, join(work, 'deb')]);
  await run('tar', ['-xJf', join(work, 'deb/usr/src/linux-source-6.1.tar.xz'), '-C', work]);
  const source = join(work, 'linux-source-6.1');
  cpSync(configFile(), join(source, 'arch/x86/configs/pinscope_defconfig'));
  // Low priority: the other kernels' tests run meanwhile.
  const make = (...targets: string[]) =>
    run('nice', ['-n', '10', 'make', '-C', source, ...targets], {
      logFile: log,
      env: { MAKEFLAGS: '', KBUILD_BUILD_USER: 'pinscope', KBUILD_BUILD_HOST: 'rig' },
    });
  await make('pinscope_defconfig');
  await make(`-j${availableParallelism()}`, 'bzImage');
  const release = readFileSync(join(source, 'include/config/kernel.release'), 'utf8').trim();
  const done = join(work, 'done');
  mkdirSync(done);
  cpSync(join(source, 'arch/x86/boot/bzImage'), join(done, 'bzImage'));
  publish('6.1', done, `${version}-${hash}`, { release, packageVersion: version });
}

interface Suite {
  readonly archive: 'debian' | 'security';
  readonly suite: string;
}

/** A view of some Debian suites that shares nothing with the machine's apt but its mirror, proxy and keys. */
interface PrivateApt {
  /** The candidate version of a package. */
  candidate(name: string): Promise<string>;
  /** The package matching `pattern` whose first group is the highest version; plain names win over suffixed. */
  newest(prefix: string, pattern: RegExp): Promise<string>;
  /** Downloads and verifies the candidate into `dir`; returns the file's path. */
  download(name: string, dir: string): Promise<string>;
}

async function openApt(id: KernelId, suites: readonly Suite[], report: Report): Promise<PrivateApt> {
  const dir = join(cacheDir(), 'apt', id);
  for (const sub of ['state/lists/partial', 'cache/archives/partial'])
    mkdirSync(join(dir, sub), { recursive: true });
  const mirrors = await machineMirrors();
  const lines = suites.flatMap(({ archive, suite }) => {
    const uri = mirrors[archive];
    // target=Packages: no translations, icons or contents, whatever the machine's apt is set to fetch.
    return uri === null
      ? []
      : [`deb [arch=amd64 signed-by=${keyring} target=Packages] ${uri} ${suite} main\n`];
  });
  writeFileSync(join(dir, 'sources.list'), lines.join(''));
  writeFileSync(join(dir, 'status'), '');
  const conf = join(dir, 'apt.conf');
  writeFileSync(
    conf,
    [
      // Hooks of the machine's configuration touch the machine's caches.
      '#clear APT::Update::Pre-Invoke;',
      '#clear APT::Update::Post-Invoke;',
      '#clear APT::Update::Post-Invoke-Success;',
      `Dir::State "${dir}/state";`,
      `Dir::State::status "${dir}/status";`,
      `Dir::Cache "${dir}/cache";`,
      'Dir::Cache::pkgcache "pkgcache.bin";',
      'Dir::Cache::srcpkgcache "srcpkgcache.bin";',
      `Dir::Etc::sourcelist "${dir}/sources.list";`,
      'Dir::Etc::sourceparts "/dev/null";',
      'Dir::Etc::preferences "/dev/null";',
      'Dir::Etc::preferencesparts "/dev/null";',
      // The cache may lie where apt's own user cannot reach; packages are verified all the same.
      'APT::Sandbox::User "";',
      'APT::Architecture "amd64";',
      'APT::Get::AllowUnauthenticated "false";',
      'Acquire::AllowInsecureRepositories "false";',
      'Acquire::Retries "3";',
      '',
    ].join('\n'),
  );
  report(`kernel ${id}: reading the package lists of ${suites.map(s => s.suite).join(', ')}`);
  await run('apt-get', ['-c', conf, '-q', 'update', '--error-on=any']);

  const candidate = async (name: string): Promise<string> => {
    const policy = await run('apt-cache', ['-c', conf, 'policy', name]);
    const version = /^ {2}Candidate: (\S+)$/m.exec(policy)?.[1];
    if (version === undefined || version === '(none)') {
      throw new RigError(`The Debian suites ${suites.map(s => s.suite).join(', ')} have no package ${name}.`);
    }
    return version;
  };
  return {
    candidate,
    async newest(prefix, pattern) {
      // pkgnames also lists names that other packages merely mention; those have no candidate.
      const names = (await run('apt-cache', ['-c', conf, 'pkgnames', prefix]))
        .split('\n')
        .filter(n => pattern.test(n));
      names.sort((a, b) => compareNatural(b, a) || a.length - b.length);
      for (const name of names) {
        if (await candidate(name).catch(() => null)) return name;
      }
      throw new RigError(
        `The Debian suites ${suites.map(s => s.suite).join(', ')} have no package like ${pattern.source}.`,
      );
    },
    async download(name, into) {
      await run('apt-get', ['-c', conf, '-q', 'download', name], { cwd: into });
      const file = readdirSync(into).find(f => f.startsWith(`${name}_`) && f.endsWith('.deb'));
      if (file === undefined) throw new Error(`apt-get download ${name} left no file in ${into}`);
      return join(into, file);
    },
  };
}

/** Orders `linux-image-6.12.9…` before `linux-image-6.12.10…`; a trailing `-unsigned` does not count. */
function compareNatural(a: string, b: string): number {
  const plain = (name: string) => name.replace('-unsigned', '');
  return plain(a).localeCompare(plain(b), 'en', { numeric: true });
}

/** The base addresses that this machine's apt fetches Debian and its security updates from. */
async function machineMirrors(): Promise<{ debian: string; security: string | null }> {
  const listing = await run('apt-get', [
    'indextargets',
    '--format',
    '$(RELEASE) $(REPO_URI) $(ORIGIN)',
    'Created-By: Packages',
  ]);
  const targets = listing
    .split('\n')
    .map(line => line.split(' '))
    .flatMap(([suite, uri, origin]) =>
      suite !== undefined && uri !== undefined && (!origin || origin === 'Debian') ? [{ suite, uri }] : [],
    );
  const isSecurity = (suite: string) => suite.endsWith('-security') || suite.includes('/updates');
  const debian = targets.find(t => !isSecurity(t.suite))?.uri;
  const security = targets.find(t => isSecurity(t.suite))?.uri ?? null;
  if (debian === undefined) {
    throw new RigError(
      'The rig fetches kernels from the Debian mirror in apt’s sources, and apt has none here.',
    );
  }
  return { debian, security };
}
