/**
 * A PCI device of the VM given to vfio-pci, as an administrator does it (Documentation/driver-api/vfio.rst), so that a real QEMU
 * can have it: the VM is booted with an emulated IOMMU (boot `vfio` of boots.ts).
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readlinkSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';

/** Address of the network card of boot `vfio`. */
export const vfioDevice = '0000:00:0a.0';

/**
 * Gives a device to vfio-pci; nothing happens when it already has it.
 * @returns its IOMMU group, the N of /dev/vfio/N
 * @throws Error when the VM has no IOMMU, or the kernel no vfio-pci
 */
export function bindToVfio(address = vfioDevice): number {
  const device = `/sys/bus/pci/devices/${address}`;
  const group = `${device}/iommu_group`;
  if (!existsSync(group)) throw new Error(`${address} has no IOMMU group: boot with intel_iommu=on`);
  // Built in on 6.1, where there are no modules.
  if (!existsSync('/sys/bus/pci/drivers/vfio-pci'))
    execFileSync('modprobe', ['-a', 'vfio-pci', 'vfio_iommu_type1']);
  writeFileSync(`${device}/driver_override`, 'vfio-pci');
  const driver = () => (existsSync(`${device}/driver`) ? basename(readlinkSync(`${device}/driver`)) : null);
  if (driver() !== 'vfio-pci') {
    if (driver() !== null) writeFileSync(`${device}/driver/unbind`, address);
    writeFileSync('/sys/bus/pci/drivers_probe', address);
  }
  if (driver() !== 'vfio-pci') throw new Error(`${address} is with ${driver() ?? 'no driver'}, not vfio-pci`);
  return Number(basename(readlinkSync(group)));
}
