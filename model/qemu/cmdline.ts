import { ParseError } from '../parse-error.ts';
import type { Target, TargetDevice } from '../snapshot.ts';
import {
  lastOf,
  type OptionPair,
  parseBool,
  parseJsonPairs,
  parseNumberList,
  parseOptionPairs,
  parseSize,
} from './options.ts';

/** What a QEMU was told by its command line. What it was told later, over a monitor, is not in here. */
export interface QemuCommandLine {
  /** argv[0]. */
  readonly program: string;
  /** `-name`, the guest's name. */
  readonly name: string | null;
  /** `-name …,process=`: what the process calls itself in `comm`. */
  readonly processName: string | null;
  readonly machine: {
    /** `pc`, `q35`, …; null: the default of that program. */
    readonly type: string | null;
    /** `memory-backend=`: id of the object that is the guest's RAM; null: QEMU makes its own, no memfd. */
    readonly memoryBackend: string | null;
    readonly properties: Readonly<Record<string, string>>;
  };
  readonly memory: {
    /** `-m`, rounded up to 8 KiB as QEMU does; null: not given (the machine's default) or not understood. */
    readonly sizeBytes: number | null;
    readonly maxBytes: number | null;
    readonly slots: number | null;
    /** `-mem-path`. */
    readonly path: string | null;
  };
  /** Every -object, memory backends too. */
  readonly objects: readonly QemuObject[];
  readonly memoryBackends: readonly MemoryBackend[];
  /** Ids of memory backends that are RAM from the start: machine, NUMA nodes. */
  readonly ramBackends: readonly string[];
  /** Every -device, and the display of `-vga virtio`. Explicit -global and -set are merged into the properties. */
  readonly allDevices: readonly TargetDevice[];
  readonly devices: NonNullable<Target['devices']>;
  /** vhost-user-gpu and vhost-user-vga: another process makes their buffers. */
  readonly vhostUserGpu: readonly TargetDevice[];
  readonly globals: readonly { readonly driver: string; readonly property: string; readonly value: string }[];
  readonly display: string | null;
  readonly incoming: string | null;
  /** `-loadvm`: a snapshot that it began from. */
  readonly loadvm: string | null;
  /** Patterns of events that are traced from the start (`-trace`, `-d trace:`), in order; one with `-` before it switches off. */
  readonly trace: readonly string[];
  readonly monitors: readonly Monitor[];
  /** `-S`. */
  readonly startsStopped: boolean;
  readonly nodefaults: boolean;
  /** `-overcommit mem-lock=on`. */
  readonly memLock: boolean;
  /** Files of -readconfig: options that we do not see. */
  readonly readConfigNotRead: readonly string[];
  /** Options whose value we do not understand, and which are left out of everything above. */
  readonly notUnderstood: readonly {
    readonly option: string;
    readonly value: string;
    readonly detail: string;
  }[];
}

export interface QemuObject {
  /** QOM type, e.g. `memory-backend-memfd`. */
  readonly type: string;
  readonly id: string | null;
  readonly properties: Readonly<Record<string, string>>;
}

/** A memory backend with the defaults of backends/hostmem*.c filled in. */
export interface MemoryBackend {
  /** `memory-backend-memfd`, `memory-backend-file`, `memory-backend-ram`, `memory-backend-shm`, … */
  readonly type: string;
  readonly id: string | null;
  /** null: not given or not understood. */
  readonly sizeBytes: number | null;
  readonly share: boolean;
  /** Only -memfd has it; false for others, where a path decides. */
  readonly hugetlb: boolean;
  /** null: the host's default huge page, if `hugetlb`. */
  readonly hugetlbSizeBytes: number | null;
  readonly prealloc: boolean;
  /** false: its mapping is MAP_NORESERVE, for which hugetlb reserves no pages. */
  readonly reserve: boolean;
  /** Only -memfd seals (default on): without F_SEAL_SHRINK udmabuf refuses the memory. false for others. */
  readonly seal: boolean;
  readonly hostNodes: readonly number[];
  readonly policy: string;
}

export type MonitorAddress =
  /** `path` as QEMU was given it: relative to its working directory, in its mount namespace. */
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'abstract'; readonly name: string; readonly tight: boolean }
  /** An empty host is every address of the machine. `port` may be a service name or `0`. */
  | { readonly kind: 'tcp'; readonly host: string; readonly port: string }
  /** A socket that a parent handed over (libvirt does): its path is not on the command line. */
  | { readonly kind: 'fd'; readonly fd: string }
  | { readonly kind: 'other'; readonly backend: string };

export interface Monitor {
  /** `hmp` is for people; only `qmp` serves programs. */
  readonly protocol: 'qmp' | 'hmp';
  readonly address: MonitorAddress;
  /** false: QEMU connects to somebody else, so nobody can connect to it. */
  readonly server: boolean;
  /** The option it came from, e.g. `-qmp`. */
  readonly option: string;
}

/**
 * Options without an argument: lookup_opt() of softmmu/vl.c takes the next word as the argument of every other one.
 * From qemu-options.hx: those of 7.2 were tried on the program, the rest is what 2.x to 10.x have or had.
 */
const WITHOUT_ARGUMENT = new Set(
  `h help version mem-prealloc audio-help snapshot nographic curses sdl portrait full-screen alt-grab ctrl-grab no-frame
  no-quit no-fd-bootchk no-acpi no-hpet win2k-hack singlestep one-insn-per-tb preconfig S s enable-kvm enable-hax
  no-kvm no-kvm-irqchip no-kvm-pit no-kvm-pit-reinjection enable-fips xen-attach xen-domid-restrict xen-create no-reboot
  no-shutdown daemonize only-migratable nodefaults no-user-config nodefconfig async-teardown enable-sync-profile
  semihosting old-param usb perfmap jitdump tdf localtime rtc-td-hack show-cursor`
    .split(/\s+/)
    .filter(Boolean),
);

/** Splits the bytes of /proc/PID/cmdline (as text) at NUL. Arguments may be empty and may hold spaces and newlines. */
export function splitCmdline(text: string): string[] {
  if (text === '') return [];
  return (text.endsWith('\0') ? text.slice(0, -1) : text).split('\0');
}

interface Draft {
  readonly type: string;
  readonly id: string | null;
  readonly pairs: OptionPair[];
}

/**
 * Reads a QEMU command line, QEMU 2.x to 10.x. A program that runs has accepted its command line, so what we do not
 * understand is our lack: the option lands in `notUnderstood` and the rest is read. Nothing is thrown.
 *
 * Rests on qemu_init() and lookup_opt() of softmmu/vl.c (`--x` is `-x`; repeated -machine, -m and -name are merged),
 * monitor_parse() there (-qmp, -monitor), qemu_chr_parse_compat() of chardev/char.c, backends/hostmem*.c; all 7.2.
 */
export function parseQemuCommandLine(argv: readonly string[]): QemuCommandLine {
  const notUnderstood: { option: string; value: string; detail: string }[] = [];
  const attempt = <T>(option: string, value: string, parse: () => T): T | null => {
    try {
      return parse();
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      notUnderstood.push({ option, value, detail: error.message });
      return null;
    }
  };

  const name: OptionPair[] = [];
  const machine: OptionPair[] = [];
  const memory: OptionPair[] = [];
  const objects: Draft[] = [];
  const devices: Draft[] = [];
  const backends: TargetDevice[] = [];
  const chardevs = new Map<string, OptionPair[]>();
  const mons: { readonly option: string; readonly chardev: string; readonly protocol: 'qmp' | 'hmp' }[] = [];
  const direct: { readonly option: string; readonly text: string; readonly protocol: 'qmp' | 'hmp' }[] = [];
  const globals: { driver: string; property: string; value: string }[] = [];
  const sets: string[] = [];
  const ramBackends: string[] = [];
  const readConfigNotRead: string[] = [];
  let display: string | null = null;
  let incoming: string | null = null;
  let loadvm: string | null = null;
  const trace: string[] = [];
  let path: string | null = null;
  let vga: string | null = null;
  let startsStopped = false;
  let nodefaults = false;
  let prealloc = false;
  let memLock = false;

  for (let i = 1; i < argv.length; i++) {
    const word = argv[i] ?? '';
    if (!word.startsWith('-')) continue; // a disk image
    const name_ = word.slice(word.startsWith('--') ? 2 : 1);
    const option = `-${name_}`;
    if (WITHOUT_ARGUMENT.has(name_)) {
      if (name_ === 'S') startsStopped = true;
      else if (name_ === 'nodefaults') nodefaults = true;
      else if (name_ === 'mem-prealloc') prealloc = true;
      continue;
    }
    i++;
    const value = argv[i];
    if (value === undefined) {
      notUnderstood.push({ option, value: '', detail: 'the argument is missing' });
      break;
    }
    const pairsOf = (impliedKey: string): OptionPair[] | null =>
      attempt(option, value, () =>
        value.startsWith('{') ? parseJsonPairs(value) : parseOptionPairs(value, impliedKey),
      );
    switch (name_) {
      case 'name':
        name.push(...parseOptionPairs(value, 'guest'));
        break;
      case 'M':
      case 'machine':
        machine.push(...parseOptionPairs(value, 'type'));
        break;
      case 'm':
        memory.push(...parseOptionPairs(value, 'size'));
        break;
      case 'mem-path':
        path = value;
        break;
      case 'object': {
        const pairs = pairsOf('qom-type');
        if (pairs) objects.push(draft(pairs, 'qom-type'));
        break;
      }
      case 'device': {
        const pairs = pairsOf('driver');
        if (pairs) devices.push(draft(pairs, 'driver'));
        break;
      }
      case 'netdev':
      case 'blockdev': {
        const pairs = pairsOf(name_ === 'netdev' ? 'type' : 'driver');
        if (!pairs) break;
        const { type, id, pairs: all } = draft(pairs, name_ === 'netdev' ? 'type' : 'driver');
        if (/vhost-vdpa/.test(type)) {
          backends.push({
            id: id ?? lastOf(all)['node-name'] ?? null,
            driver: type,
            properties: lastOf(all),
          });
        }
        break;
      }
      case 'numa': {
        const memdev = lastOf(parseOptionPairs(value, 'type')).memdev;
        if (memdev !== undefined) ramBackends.push(memdev);
        break;
      }
      case 'vga':
        vga = value;
        break;
      case 'global': {
        // qemu_global_option() of softmmu/qdev-monitor.c: driver.property=value, or driver=,property=,value=.
        const short = /^([^.=,]+)\.([^=]+)=([\s\S]*)$/.exec(value);
        const long = lastOf(parseOptionPairs(value));
        const driver = short?.[1] ?? long.driver;
        const property = short?.[2] ?? long.property;
        const setting = short?.[3] ?? long.value;
        if (driver === undefined || property === undefined || setting === undefined) {
          notUnderstood.push({ option, value, detail: 'expected driver.property=value' });
        } else globals.push({ driver, property, value: setting });
        break;
      }
      case 'set':
        sets.push(value);
        break;
      case 'display':
        display = value;
        break;
      case 'incoming':
        incoming = value;
        break;
      case 'loadvm':
        loadvm = value;
        break;
      case 'trace': {
        // trace_opt_parse() of trace/control.c; `events=` names a file with more.
        const enable = lastOf(parseOptionPairs(value, 'enable')).enable;
        if (enable !== undefined) trace.push(enable);
        break;
      }
      case 'd':
        // qemu_str_to_log_mask() of util/log.c.
        for (const item of value.split(',')) if (item.startsWith('trace:')) trace.push(item.slice(6));
        break;
      case 'overcommit': {
        const lock = lastOf(parseOptionPairs(value))['mem-lock'];
        if (lock !== undefined) memLock = attempt(option, value, () => parseBool(lock)) ?? memLock;
        break;
      }
      case 'realtime': {
        const lock = lastOf(parseOptionPairs(value)).mlock;
        if (lock !== undefined) memLock = attempt(option, value, () => parseBool(lock)) ?? memLock;
        break;
      }
      case 'readconfig':
        readConfigNotRead.push(value);
        break;
      case 'chardev': {
        const pairs = pairsOf('backend');
        const id = pairs ? lastOf(pairs).id : undefined;
        if (pairs && id !== undefined) chardevs.set(id, pairs);
        break;
      }
      case 'mon': {
        const properties = lastOf(parseOptionPairs(value, 'chardev'));
        const mode = properties.mode ?? 'readline';
        const chardev = properties.chardev;
        if (chardev === undefined || (mode !== 'control' && mode !== 'readline')) {
          notUnderstood.push({ option, value, detail: 'expected a chardev and a mode' });
        } else mons.push({ option, chardev, protocol: mode === 'control' ? 'qmp' : 'hmp' });
        break;
      }
      case 'qmp':
      case 'qmp-pretty':
      case 'monitor': {
        const protocol = name_ === 'monitor' ? 'hmp' : 'qmp';
        if (value.startsWith('chardev:')) mons.push({ option, chardev: value.slice(8), protocol });
        else if (!(protocol === 'hmp' && value.startsWith('none')))
          direct.push({ option, text: value, protocol });
        break;
      }
      case 'serial':
      case 'parallel':
        if (value.startsWith('mon:')) direct.push({ option, text: value.slice(4), protocol: 'hmp' });
        break;
    }
  }

  // -set group.id.property=value, qemu_set_option() of softmmu/vl.c.
  for (const text of sets) {
    const match = /^([^.=]+)\.([^.=]+)\.([^=]+)=([\s\S]*)$/.exec(text);
    if (!match) {
      notUnderstood.push({ option: '-set', value: text, detail: 'expected group.id.property=value' });
      continue;
    }
    const [, group = '', id = '', key = '', value = ''] = match;
    if (group === 'chardev') chardevs.get(id)?.push([key, value]);
    const drafts = group === 'device' ? devices : group === 'object' ? objects : [];
    drafts.find(entry => entry.id === id)?.pairs.push([key, value]);
  }

  const machineProperties = lastOf(machine);
  const memoryProperties = lastOf(memory);
  const optional = <T>(option: string, value: string | undefined, parse: (text: string) => T): T | null =>
    value === undefined ? null : attempt(option, value, () => parse(value));
  const sizeText = memoryProperties.size;
  const sizeBytes =
    sizeText === undefined
      ? optional('-machine', machineProperties['memory.size'], text => parseSize(text))
      : optional('-m', sizeText, text => parseSize(text, 2 ** 20));
  const memoryBackend = machineProperties['memory-backend'] ?? null;
  if (memoryBackend !== null) ramBackends.unshift(memoryBackend);

  const allDevices = devices.map((entry): TargetDevice => {
    const fromGlobals = globals
      .filter(global => global.driver === entry.type)
      .map((global): OptionPair => [global.property, global.value]);
    return { id: entry.id, driver: entry.type, properties: lastOf([...fromGlobals, ...entry.pairs]) };
  });
  if (vga === 'virtio') allDevices.push({ id: null, driver: 'virtio-vga', properties: {} });
  const driven = (pattern: RegExp): TargetDevice[] =>
    allDevices.filter(device => pattern.test(device.driver));

  const names = lastOf(name);
  return {
    program: argv[0] ?? '',
    name: names.guest ?? null,
    processName: names.process ?? null,
    machine: { type: machineProperties.type ?? null, memoryBackend, properties: machineProperties },
    memory: {
      sizeBytes: sizeBytes === null ? null : Math.ceil(sizeBytes / 8192) * 8192,
      maxBytes:
        optional('-m', memoryProperties.maxmem, text => parseSize(text)) ??
        optional('-machine', machineProperties['memory.max-size'], text => parseSize(text)),
      slots:
        optional('-m', memoryProperties.slots, wholeNumber) ??
        optional('-machine', machineProperties['memory.slots'], wholeNumber),
      path,
    },
    objects: objects.map(entry => ({ type: entry.type, id: entry.id, properties: lastOf(entry.pairs) })),
    memoryBackends: objects
      .filter(entry => entry.type.startsWith('memory-backend-'))
      .map(entry => memoryBackendOf(entry, prealloc, attempt)),
    ramBackends,
    allDevices,
    devices: {
      virtioGpu: driven(/^virtio-(gpu|vga)/),
      balloon: driven(/^virtio-balloon/),
      virtioMem: driven(/^virtio-mem/),
      vfio: driven(/^(x-)?vfio-/),
      vdpa: [...driven(/^vhost-vdpa/), ...backends],
    },
    vhostUserGpu: driven(/^vhost-user-(gpu|vga)/),
    globals,
    display,
    incoming,
    loadvm,
    trace,
    monitors: [
      ...direct.map(({ option, text, protocol }) => ({ protocol, option, ...compatChardev(text) })),
      ...mons.map(({ option, chardev, protocol }) => ({
        protocol,
        option,
        ...chardevOf(chardevs.get(chardev) ?? [], attempt),
      })),
    ],
    startsStopped,
    nodefaults,
    memLock,
    readConfigNotRead,
    notUnderstood,
  };
}

type Attempt = <T>(option: string, value: string, parse: () => T) => T | null;

/** Takes type and id out of the pairs of an -object or -device. */
function draft(pairs: readonly OptionPair[], typeKey: string): Draft {
  const last = lastOf(pairs);
  return {
    type: last[typeKey] ?? '',
    id: last.id ?? null,
    pairs: pairs.filter(([key]) => key !== typeKey && key !== 'id'),
  };
}

function wholeNumber(text: string): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new ParseError('QEMU option', 'a whole number', text, 0);
  return value;
}

/**
 * backends/hostmem.c and hostmem-memfd.c, hostmem-shm.c, 7.2 and 9.1: share defaults to on for -memfd and -shm, else
 * off; seal and reserve to on, hugetlb to off, policy to default; -mem-prealloc is prealloc=on for every backend.
 */
function memoryBackendOf(entry: Draft, preallocAll: boolean, attempt: Attempt): MemoryBackend {
  const properties = lastOf(entry.pairs);
  const memfd = entry.type === 'memory-backend-memfd';
  const read = <T>(key: string, parse: (text: string) => T, otherwise: T): T => {
    const value = properties[key];
    if (value === undefined) return otherwise;
    return attempt(`-object ${entry.type} ${key}`, value, () => parse(value)) ?? otherwise;
  };
  const nodes = entry.pairs.filter(([key]) => /^host-nodes(\.\d+)?$/.test(key)).map(([, value]) => value);
  return {
    type: entry.type,
    id: entry.id,
    sizeBytes: read<number | null>('size', text => parseSize(text), null),
    share: read('share', parseBool, memfd || entry.type === 'memory-backend-shm'),
    hugetlb: memfd && read('hugetlb', parseBool, false),
    hugetlbSizeBytes: read<number | null>('hugetlbsize', text => parseSize(text) || null, null),
    prealloc: read('prealloc', parseBool, preallocAll),
    reserve: read('reserve', parseBool, true),
    seal: memfd && read('seal', parseBool, true),
    hostNodes:
      attempt(`-object ${entry.type} host-nodes`, nodes.join(','), () => parseNumberList(nodes.join(','))) ??
      [],
    policy: properties.policy ?? 'default',
  };
}

/** The chardev shorthand of -qmp, -monitor and -serial: qemu_chr_parse_compat() of chardev/char.c, 7.2. */
function compatChardev(text: string): { readonly address: MonitorAddress; readonly server: boolean } {
  const at = text.indexOf(':');
  const scheme = at < 0 ? text : text.slice(0, at);
  const rest = at < 0 ? '' : text.slice(at + 1);
  if (scheme === 'unix') return socket(parseOptionPairs(rest, 'path'));
  if (scheme === 'tcp' || scheme === 'telnet' || scheme === 'tn3270' || scheme === 'websocket') {
    const end = rest.indexOf(',');
    const target = end < 0 ? rest : rest.slice(0, end);
    const colon = target.lastIndexOf(':');
    if (scheme !== 'tcp' || colon < 0) return { address: { kind: 'other', backend: text }, server: false };
    return socket([
      ['host', target.slice(0, colon)],
      ['port', target.slice(colon + 1)],
      ...(end < 0 ? [] : parseOptionPairs(rest.slice(end + 1))),
    ]);
  }
  return { address: { kind: 'other', backend: text }, server: false };
}

function chardevOf(
  pairs: readonly OptionPair[],
  attempt: Attempt,
): { readonly address: MonitorAddress; readonly server: boolean } {
  const properties = lastOf(pairs);
  if (properties.backend !== 'socket') {
    return { address: { kind: 'other', backend: properties.backend ?? 'unknown chardev' }, server: false };
  }
  return (
    attempt('-chardev', properties.id ?? '', () => socket(pairs)) ?? {
      address: { kind: 'other', backend: 'socket' },
      server: false,
    }
  );
}

/**
 * qemu_chr_parse_socket() of chardev/char-socket.c, 7.2. telnet, tn3270, websocket and TLS are no plain stream.
 * Without path, host or fd it is something newer: `other`.
 */
function socket(pairs: readonly OptionPair[]): {
  readonly address: MonitorAddress;
  readonly server: boolean;
} {
  const properties = lastOf(pairs);
  const on = (key: string): boolean => {
    const value = properties[key];
    try {
      return value !== undefined && parseBool(value);
    } catch {
      return false;
    }
  };
  const server = on('server');
  const wrapped =
    ['telnet', 'tn3270', 'websocket'].find(on) ?? ('tls-creds' in properties ? 'tls' : undefined);
  if (wrapped !== undefined) return { address: { kind: 'other', backend: wrapped }, server };
  const { path, fd, port, host } = properties;
  if (path !== undefined) {
    if (!on('abstract')) return { address: { kind: 'unix', path }, server };
    return {
      address: { kind: 'abstract', name: path, tight: properties.tight === undefined || on('tight') },
      server,
    };
  }
  if (fd !== undefined) return { address: { kind: 'fd', fd }, server };
  if (port !== undefined) return { address: { kind: 'tcp', host: host ?? '', port }, server };
  return { address: { kind: 'other', backend: 'socket' }, server };
}

/**
 * Whether a process is a QEMU that runs a machine. `exe` (the target of /proc/PID/exe) decides when it could be read,
 * because nobody can change it; else argv[0] and `comm`, which `-name …,process=` and prctl change.
 * @param comm at most 15 bytes: `qemu-system-x86`.
 * @param exe null when it may not be read; may end in ` (deleted)`.
 */
export function isQemu(comm: string, exe: string | null, argv: readonly string[]): boolean {
  const isName = (path: string): boolean => {
    const base = path.replace(/ \(deleted\)$/, '').replace(/^.*\//s, '');
    // `.qemu-system-x86_64-wrapped` is how Nix hides the program behind a script of its name.
    return /^\.?qemu-system-[a-z0-9]/.test(base) || base === 'qemu-kvm' || base === 'kvm';
  };
  if (exe !== null) {
    if (isName(exe)) return true;
    // Started through the dynamic loader or an emulating debugger, exe is theirs.
    const loader = /^(ld-[^/]*|ld64?\.[^/]*|rr|valgrind.*|(memcheck|helgrind|none)-[^/]*)$/;
    if (!loader.test(exe.replace(/^.*\//s, ''))) return false;
    return argv.slice(0, 4).some(isName);
  }
  if (argv.length > 0) return isName(argv[0] ?? '');
  return /^qemu-system-/.test(comm) || comm === 'qemu-kvm';
}
