/**
 * The initramfs that turns the machine's own file tree into the root of a rig VM.
 *
 * First stage (in the initramfs): insert the 9p and overlay modules, mount the export of the host's `/`
 * read-only, put an overlay on tmpfs above it, mount fresh proc, sys, dev, tmp and run, `switch_root`.
 * switch_root and not chroot, because a chrooted process may not create user namespaces.
 * Second stage (`/run/rig/main`, still PID 1): run the job as a child, store its exit status, power off.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type CpioEntry, cpio } from './cpio.ts';
import { cacheDir, findCommand, requirePackages } from './host.ts';
import type { Kernel } from './kernels.ts';
import { loadableModules } from './modules.ts';

/** Mount tags of the three exports; vm.ts names its devices so. */
export const mountTags = { root: 'rig-root', control: 'rig-control', results: 'rig-results' } as const;

/** Where the job finds things in the VM. */
export const inside = {
  /** The host's tree as exported, read-only, without the mounts above it. */
  host: '/run/rig/host',
  control: '/run/rig/control',
  results: '/run/rig/results',
} as const;

// The largest message the virtio transport takes (500 KiB less a page of ring); more is cut with a warning.
const transport = 'trans=virtio,version=9p2000.L,msize=507904';

/**
 * cache=loose: the lower tree is read-only and taken as still, which saves a round trip per look-up; it also is
 * what lets programs be mapped. The writable exports go uncached so that the host sees every byte at once, also
 * when the VM dies.
 */
const firstStage = `#!/bin/busybox sh
b=/bin/busybox
say() { echo "rig: $*"; }
die() { say "$* failed"; $b poweroff -f; }
$b mount -t devtmpfs dev /dev
while read -r module; do $b insmod /modules/$module || say "insmod $module failed"; done </modules/order
$b mount -t 9p -o ro,${transport},cache=loose ${mountTags.root} /host || die "mount of the host's tree"
$b mount -t tmpfs -o size=50%,mode=0755 tmpfs /over
$b mkdir /over/upper /over/work
$b mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work overlay /new || die "overlay"
cd /new
$b mount -t proc -o nosuid,nodev,noexec proc proc
$b mount -t sysfs -o nosuid,nodev,noexec sys sys
$b mount --move /dev dev
$b mount -t tmpfs -o mode=1777 tmpfs tmp
$b mount -t tmpfs -o mode=0755 tmpfs run
$b mkdir -p run/rig/host run/rig/control run/rig/results run/lock
$b mount --move /host run/rig/host
$b cp /bin/busybox /main run/rig/
exec $b switch_root /new /run/rig/busybox sh /run/rig/main
`;

const secondStage = `b=/run/rig/busybox
say() { echo "rig: $*"; }
die() { say "$* failed"; $b poweroff -f; }
$b mkdir -p /dev/pts /dev/shm
$b mount -t devpts -o gid=5,mode=0620,ptmxmode=0666 devpts /dev/pts
$b mount -t tmpfs -o mode=1777 tmpfs /dev/shm
[ -e /dev/fd ] || $b ln -s /proc/self/fd /dev/fd
$b mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
$b mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
$b mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
$b mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null
$b mount -t 9p -o ${transport} ${mountTags.control} ${inside.control} || die "mount of the control directory"
$b mount -t 9p -o ${transport} ${mountTags.results} ${inside.results} || die "mount of the results directory"
$b ifconfig lo 127.0.0.1 2>/dev/null
$b hostname rig
. ${inside.control}/env
release=$($b uname -r)
if [ -n "$PINSCOPE_RIG_MODULES" ] && [ ! -e /lib/modules/$release ]; then
  $b mkdir -p /lib/modules
  $b ln -s "$PINSCOPE_RIG_MODULES" /lib/modules/$release
fi
while read -r path; do
  $b mkdir -p "$path"
  $b mount --bind "${inside.host}$path" "$path" || die "bind of $path"
done <${inside.control}/expose
cd /
say "job starts at $($b cut -d' ' -f1 /proc/uptime)"
$b setsid /bin/bash ${inside.control}/job </dev/null
status=$?
$b sync
echo $status >${inside.control}/status.new
$b mv ${inside.control}/status.new ${inside.control}/status
$b poweroff -f
`;

/**
 * Path of the initramfs for `kernel`, made when the cache has none for it with this content.
 * @throws RigError when busybox is missing on this machine
 */
export async function hostRootInitramfs(kernel: Kernel): Promise<string> {
  const modules = await loadableModules(kernel, ['virtio_pci', '9pnet_virtio', '9p', 'overlay']);
  const directories = ['bin', 'dev', 'host', 'modules', 'new', 'over'];
  return cachedArchive(`${kernel.release}-root`, [
    ...directories.map(path => ({ path, kind: 'directory' }) as const),
    consoleNode,
    staticBusybox(),
    { path: 'init', kind: 'file', content: firstStage },
    { path: 'main', kind: 'file', content: secondStage },
    ...modules.map(({ name, content }) => ({ path: `modules/${name}`, kind: 'file', content }) as const),
    { path: 'modules/order', kind: 'file', content: modules.map(({ name }) => `${name}\n`).join('') },
  ]);
}

/** The kernel opens it for PID 1 before anything is mounted. */
export const consoleNode: CpioEntry = { path: 'dev/console', kind: 'char', mode: 0o600, device: [5, 1] };

/** `bin/busybox`, from the machine's busybox-static. */
export function staticBusybox(): CpioEntry {
  requirePackages('make an initramfs', [{ path: 'busybox', debianPackage: 'busybox-static' }]);
  const content = readFileSync(findCommand('busybox') ?? 'busybox');
  // An ELF with a PT_INTERP names its loader near its start; a static one does not.
  if (content.subarray(0, 4096).includes('/ld-linux')) {
    requirePackages('make an initramfs', [{ path: '/nonexistent', debianPackage: 'busybox-static' }]);
  }
  return { path: 'bin/busybox', kind: 'file', content };
}

/**
 * Stores the archive in the cache under its content's hash and returns its path; equal entries are written once.
 */
export function cachedArchive(name: string, entries: readonly CpioEntry[]): string {
  const bytes = cpio(entries);
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 12);
  const path = join(cacheDir(), 'initramfs', `${name}-${hash}.cpio`);
  mkdirSync(dirname(path), { recursive: true });
  if (existsSync(path)) {
    utimesSync(path, new Date(), new Date());
    return path;
  }
  const partial = `${path}.${process.pid}`;
  writeFileSync(partial, bytes);
  renameSync(partial, path);
  return path;
}
