/**
 * What a guest inside a rig VM boots: one of the rig's Debian kernels and an initramfs that loads virtio-gpu. Its
 * console then is a framebuffer of 1920x1080x4 = 8294400 bytes, which the driver makes a blob resource, so that a
 * QEMU with `blob=true` makes a udmabuf of it without any program in the guest.
 */

import { RigError } from './host.ts';
import { cachedArchive, consoleNode, staticBusybox } from './initramfs.ts';
import { ensureKernel, type Kernel, type KernelId, type Report } from './kernels.ts';
import { loadableModules } from './modules.ts';

// Sleeping and not polling: the guest shares two emulated processors with what is under test.
const guestInit = `#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
$b mount -t sysfs sys /sys
while read -r module; do $b insmod /modules/$module || echo "guest: insmod $module failed"; done </modules/order
for i in 1 2 3 4 5 6 7 8 9 10; do [ -e /dev/fb0 ] && break; $b sleep 1; done
echo "guest: framebuffer $($b cat /sys/class/graphics/fb0/virtual_size)"
exec $b sleep 1000000
`;

/**
 * Prepares a guest and returns the environment that tells `startNestedGuest` of it, for `VmOptions.env`.
 * @param id a kernel with modules: 6.12 or 7.2
 */
export async function nestedGuestEnvironment(
  id: KernelId = '6.12',
  report?: Report,
): Promise<Record<string, string>> {
  const kernel = await ensureKernel(id, report);
  return { PINSCOPE_NESTED_KERNEL: kernel.bzImage, PINSCOPE_NESTED_INITRAMFS: await guestInitramfs(kernel) };
}

async function guestInitramfs(kernel: Kernel): Promise<string> {
  const modules = await loadableModules(kernel, ['virtio_pci', 'virtio-gpu']);
  if (modules.length === 0)
    throw new RigError(`Kernel ${kernel.id} has no virtio-gpu module for a nested guest.`);
  return cachedArchive(`${kernel.release}-guest`, [
    ...['bin', 'dev', 'modules', 'sys'].map(path => ({ path, kind: 'directory' }) as const),
    consoleNode,
    staticBusybox(),
    { path: 'init', kind: 'file', content: guestInit },
    ...modules.map(({ name, content }) => ({ path: `modules/${name}`, kind: 'file', content }) as const),
    { path: 'modules/order', kind: 'file', content: modules.map(({ name }) => `${name}\n`).join('') },
  ]);
}
