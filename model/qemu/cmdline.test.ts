import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { damaged, dishonestNumber } from '../../test/mutate.ts';
import { isQemu, parseQemuCommandLine, splitCmdline } from './cmdline.ts';

const recorded = (name: string): string =>
  readFileSync(new URL(`../../test/fixtures/qemu-7.2/${name}/cmdline`, import.meta.url), 'latin1');
const parse = (...args: string[]) => parseQemuCommandLine(['qemu-system-x86_64', ...args]);

describe('QEMU command lines', () => {
  it('reads a recorded one with hotplugged memory', () => {
    const found = parseQemuCommandLine(splitCmdline(recorded('q35-hotplug')));
    expect(found).toMatchObject({
      program: 'qemu-system-x86_64',
      name: null,
      machine: { type: 'q35', memoryBackend: 'mem1' },
      memory: { sizeBytes: 256 * 2 ** 20, maxBytes: 2 * 2 ** 30, slots: 2, path: null },
      ramBackends: ['mem1'],
      startsStopped: true,
      nodefaults: true,
      display: 'none',
      readConfigNotRead: [],
      notUnderstood: [],
    });
    expect(
      found.memoryBackends.map(backend => [backend.id, backend.sizeBytes, backend.share, backend.seal]),
    ).toEqual([
      ['mem1', 256 * 2 ** 20, true, true],
      ['mem2', 128 * 2 ** 20, true, true],
      ['vm0', 256 * 2 ** 20, true, true],
    ]);
    expect(found.devices.balloon).toEqual([
      { id: 'balloon0', driver: 'virtio-balloon-pci', properties: { 'free-page-reporting': 'on' } },
    ]);
    expect(found.devices.virtioMem).toEqual([
      { id: 'vmem0', driver: 'virtio-mem-pci', properties: { memdev: 'vm0', 'requested-size': '64M' } },
    ]);
    expect(found.allDevices.map(device => device.driver)).toEqual([
      'pc-dimm',
      'virtio-mem-pci',
      'virtio-balloon-pci',
    ]);
    expect(found.monitors).toEqual([
      {
        protocol: 'qmp',
        option: '-qmp',
        address: { kind: 'unix', path: '/tmp/pinscope-record/q35-hotplug.sock' },
        server: true,
      },
    ]);
  });
  it('reads recorded NUMA nodes and a name', () => {
    const numa = parseQemuCommandLine(splitCmdline(recorded('q35-numa-private')));
    expect(numa.ramBackends).toEqual(['node0', 'node1']);
    expect(numa.machine.memoryBackend).toBeNull();
    expect(numa.memoryBackends).toMatchObject([
      { id: 'node0', share: false, prealloc: true, reserve: true, seal: true, hugetlb: false },
      { id: 'node1', share: true, prealloc: false, seal: false, hugetlb: false },
    ]);
    expect(parseQemuCommandLine(splitCmdline(recorded('pc-booted'))).name).toBe('booted');
  });

  it('takes names in both forms, and merges repeated ones', () => {
    expect(parse('-name', 'my vm').name).toBe('my vm');
    expect(parse('-name', 'guest=a,,b\nc,process=x,debug-threads=on')).toMatchObject({
      name: 'a,b\nc',
      processName: 'x',
    });
    expect(parse('-name', 'a', '--name', 'process=p')).toMatchObject({ name: 'a', processName: 'p' });
    expect(parse()).toMatchObject({ name: null, processName: null });
  });
  it('does not take an argument for an option', () => {
    const found = parse(
      '-append',
      '-S -qmp stdio',
      '-kernel',
      '--nodefaults',
      'disk.img',
      '-enable-kvm',
      '-name',
      '-device',
    );
    expect(found).toMatchObject({
      startsStopped: false,
      nodefaults: false,
      name: '-device',
      allDevices: [],
      monitors: [],
    });
  });
  it('reads the JSON form that libvirt uses', () => {
    const found = parse(
      '-object',
      '{"qom-type":"memory-backend-memfd","id":"pc.ram","hugetlb":true,"hugetlbsize":2097152,"share":true,"prealloc":true,"reserve":false,"size":4294967296,"host-nodes":[0,1],"policy":"bind"}',
      '-device',
      '{"driver":"virtio-vga","id":"video0","blob":true,"max_outputs":1,"bus":"pcie.0","addr":"0x1"}',
      '-device',
      '{"driver":"vfio-pci","host":"0000:01:00.0","id":"hostdev0"}',
    );
    expect(found.memoryBackends).toEqual([
      {
        type: 'memory-backend-memfd',
        id: 'pc.ram',
        sizeBytes: 4 * 2 ** 30,
        share: true,
        hugetlb: true,
        hugetlbSizeBytes: 2 * 2 ** 20,
        prealloc: true,
        reserve: false,
        seal: true,
        hostNodes: [0, 1],
        policy: 'bind',
      },
    ]);
    expect(found.devices.virtioGpu).toEqual([
      {
        id: 'video0',
        driver: 'virtio-vga',
        properties: { blob: 'on', max_outputs: '1', bus: 'pcie.0', addr: '0x1' },
      },
    ]);
    expect(found.devices.vfio.map(device => device.id)).toEqual(['hostdev0']);
    expect(found.notUnderstood).toEqual([]);
  });
  it('knows the defaults of memory backends', () => {
    const found = parse(
      ...[
        '-object',
        'memory-backend-ram,id=r,size=1M',
        '-object',
        'memory-backend-file,id=f,mem-path=/dev/shm/x,size=1M,share',
      ],
      ...['-object', 'memory-backend-memfd,hugetlb,noseal,size=1.5G,id=m,host-nodes=1-2', '-mem-prealloc'],
      ...['-object', 'memory-backend-shm,id=s,size=1M', '-object', 'rng-random,id=rng'],
    );
    expect(found.memoryBackends).toMatchObject([
      { id: 'r', share: false, seal: false, hugetlb: false, prealloc: true },
      { id: 'f', share: true, seal: false },
      {
        id: 'm',
        share: true,
        seal: false,
        hugetlb: true,
        hugetlbSizeBytes: null,
        sizeBytes: 1.5 * 2 ** 30,
        hostNodes: [1, 2],
      },
      { id: 's', share: true, seal: false },
    ]);
    expect(found.objects).toHaveLength(5);
  });
  it('groups devices', () => {
    const names = [
      ...[
        'virtio-gpu-pci',
        'virtio-gpu-gl-pci',
        'virtio-vga-gl',
        'virtio-gpu-rutabaga',
        'vhost-user-gpu-pci',
        'vhost-user-vga',
      ],
      ...[
        'virtio-balloon',
        'virtio-mem',
        'vfio-pci-nohotplug',
        'vfio-ap',
        'vhost-vdpa-device-pci',
        'virtio-net-pci',
      ],
    ];
    const found = parse(
      ...names.flatMap(name => ['-device', name]),
      ...['-netdev', 'vhost-vdpa,vhostdev=/dev/vhost-vdpa-0,id=net0', '-netdev', 'user,id=net1'],
      ...['-blockdev', '{"driver":"virtio-blk-vhost-vdpa","node-name":"disk","path":"/dev/vhost-vdpa-1"}'],
    );
    const drivers = (devices: readonly { driver: string }[]) => devices.map(device => device.driver);
    expect(drivers(found.devices.virtioGpu)).toEqual(names.slice(0, 4));
    expect(drivers(found.vhostUserGpu)).toEqual(['vhost-user-gpu-pci', 'vhost-user-vga']);
    expect(drivers(found.devices.balloon)).toEqual(['virtio-balloon']);
    expect(drivers(found.devices.virtioMem)).toEqual(['virtio-mem']);
    expect(drivers(found.devices.vfio)).toEqual(['vfio-pci-nohotplug', 'vfio-ap']);
    expect(found.devices.vdpa.map(device => [device.driver, device.id])).toEqual([
      ['vhost-vdpa-device-pci', null],
      ['vhost-vdpa', 'net0'],
      ['virtio-blk-vhost-vdpa', 'disk'],
    ]);
    expect(parse('-vga', 'virtio').devices.virtioGpu).toEqual([
      { id: null, driver: 'virtio-vga', properties: {} },
    ]);
  });
  it('merges -global and -set into a device', () => {
    const found = parse(
      ...[
        '-global',
        'virtio-gpu-pci.blob=on',
        '-device',
        'virtio-gpu-pci,id=gpu0,xres=800',
        '-set',
        'device.gpu0.xres=640',
      ],
      ...[
        '-global',
        'driver=virtio-gpu-pci,property=edid,value=off',
        '-set',
        'device.other.x=1',
        '-set',
        'nonsense',
      ],
    );
    expect(found.devices.virtioGpu[0]?.properties).toEqual({ blob: 'on', edid: 'off', xres: '640' });
    expect(found.globals).toHaveLength(2);
    expect(found.notUnderstood).toMatchObject([{ option: '-set', value: 'nonsense' }]);
  });
  it('finds monitors', () => {
    const addresses = (...args: string[]) =>
      parse(...args).monitors.map(monitor => [monitor.protocol, monitor.server, monitor.address]);
    const unix = (path: string) => ({ kind: 'unix', path });
    expect(addresses('-qmp', 'unix:/tmp/a,,b.sock,server,nowait')).toEqual([
      ['qmp', true, unix('/tmp/a,b.sock')],
    ]);
    expect(addresses('-qmp-pretty', 'unix:rel.sock,server=on,wait=off')).toEqual([
      ['qmp', true, unix('rel.sock')],
    ]);
    expect(addresses('-qmp', 'unix:/tmp/a.sock')).toEqual([['qmp', false, unix('/tmp/a.sock')]]);
    expect(addresses('-qmp', 'tcp:localhost:4444,server=on')).toEqual([
      ['qmp', true, { kind: 'tcp', host: 'localhost', port: '4444' }],
    ]);
    expect(addresses('-qmp', 'tcp::4444,server')).toEqual([
      ['qmp', true, { kind: 'tcp', host: '', port: '4444' }],
    ]);
    expect(
      addresses(
        '-chardev',
        'socket,id=charmonitor,fd=32,server=on,wait=off',
        '-mon',
        'chardev=charmonitor,id=monitor,mode=control',
      ),
    ).toEqual([['qmp', true, { kind: 'fd', fd: '32' }]]);
    // The chardev may come later.
    expect(addresses('-mon', 'c0,mode=control', '-chardev', 'socket,id=c0,path=/x y,server=on')).toEqual([
      ['qmp', true, unix('/x y')],
    ]);
    expect(addresses('-qmp', 'chardev:c1', '-chardev', 'socket,id=c1,path=n,abstract=on,server=on')).toEqual([
      ['qmp', true, { kind: 'abstract', name: 'n', tight: true }],
    ]);
    expect(
      addresses('-monitor', 'stdio', '-monitor', 'none', '-mon', 'chardev=c', '-chardev', 'pty,id=c'),
    ).toEqual([
      ['hmp', false, { kind: 'other', backend: 'stdio' }],
      ['hmp', false, { kind: 'other', backend: 'pty' }],
    ]);
    expect(addresses('-qmp', 'telnet:127.0.0.1:1,server')[0]?.[2]).toMatchObject({ kind: 'other' });
    expect(addresses('-serial', 'mon:stdio')).toEqual([['hmp', false, { kind: 'other', backend: 'stdio' }]]);
  });
  it('notes the rest', () => {
    const found = parse(
      '-readconfig',
      'vm.cfg',
      '-incoming',
      'defer',
      '-overcommit',
      'mem-lock=on',
      '-display',
      'gtk,gl=on',
      '-m',
      '1G',
      '-m',
      'size=2G,slots=4',
    );
    expect(found).toMatchObject({
      readConfigNotRead: ['vm.cfg'],
      incoming: 'defer',
      memLock: true,
      display: 'gtk,gl=on',
    });
    expect(found.memory).toMatchObject({ sizeBytes: 2 * 2 ** 30, slots: 4 });
    // 7.2 itself: `-m 0.1G` gives a base memory of 107380736, `-m 3.3M` of 3465216.
    expect(parse('-m', '0.1G').memory.sizeBytes).toBe(107380736);
    expect(parse('-m', '3.3M').memory.sizeBytes).toBe(3465216);
    expect(parse('-machine', 'q35,memory.size=1G').memory.sizeBytes).toBe(2 ** 30);
  });
  it('leaves out what it does not understand, and says so', () => {
    const found = parse(
      '-object',
      '{"qom',
      '-object',
      'memory-backend-memfd,id=m,size=huge,share=maybe',
      '-m',
      'lots',
      '-device',
    );
    expect(found.memoryBackends).toMatchObject([{ id: 'm', sizeBytes: null, share: true }]);
    expect(found.memory.sizeBytes).toBeNull();
    expect(found.notUnderstood.map(entry => entry.option).sort()).toEqual([
      '-device',
      '-m',
      '-object',
      '-object memory-backend-memfd share',
      '-object memory-backend-memfd size',
    ]);
  });
  it('reads any command line without failing', () => {
    const texts = ['q35-hotplug', 'q35-numa-private', 'pc-booted'].map(recorded);
    texts.push(
      [
        'qemu',
        '-object',
        '{"qom-type":"memory-backend-memfd","id":"m","size":4096}',
        '-device',
        'virtio-gpu-pci,blob=on',
        '',
      ].join('\0'),
    );
    fc.assert(
      fc.property(damaged(...texts), text => {
        expect(dishonestNumber(parseQemuCommandLine(splitCmdline(text)))).toBeUndefined();
      }),
      { numRuns: 500 },
    );
    expect(parseQemuCommandLine([]).program).toBe('');
    expect(splitCmdline('')).toEqual([]);
    expect(splitCmdline('a\0\0b c\n\0')).toEqual(['a', '', 'b c\n']);
  });
});

describe('isQemu', () => {
  it.each([
    ['qemu-system-x86', '/usr/bin/qemu-system-x86_64', ['qemu-system-x86_64'], true],
    ['my-guest', '/usr/bin/qemu-system-aarch64', ['x'], true],
    ['qemu-kvm', '/usr/libexec/qemu-kvm (deleted)', ['/usr/libexec/qemu-kvm'], true],
    ['qemu-system-x86', '/nix/store/x/bin/.qemu-system-x86_64-wrapped', [], true],
    ['my-guest', null, ['/usr/bin/qemu-system-x86_64', '-S'], true],
    ['qemu-system-x86', null, [], true],
    ['kvm', null, ['kvm', '-m', '1G'], true],
    [
      'ld-linux-x86-64',
      '/lib64/ld-linux-x86-64.so.2',
      ['/lib64/ld-linux-x86-64.so.2', '/opt/qemu-system-x86_64'],
      true,
    ],
    ['bash', '/usr/bin/bash', ['bash', '-c', 'qemu-system-x86_64 -S'], false],
    ['sudo', '/usr/bin/sudo', ['sudo', 'qemu-system-x86_64'], false],
    ['qemu-system-x86', '/usr/bin/python3', ['qemu-system-x86_64'], false],
    ['qemu-img', '/usr/bin/qemu-img', ['qemu-img'], false],
    ['qemu-x86_64', '/usr/bin/qemu-x86_64', ['qemu-x86_64', 'ls'], false],
    ['kvm-nx-lpage-re', null, [], false],
  ])('%s %s %j: %s', (comm, exe, argv, expected) => {
    expect(isQemu(comm, exe, argv)).toBe(expected);
  });
});
