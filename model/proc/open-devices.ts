import type { OpenDevices } from '../snapshot.ts';

/** How links of /proc/PID/fd begin that {@link openDevices} looks for, and that the broker lists. */
export const DEVICE_LINKS: readonly string[] = [
  '/dev/udmabuf',
  '/dev/vfio/',
  '/dev/iommu',
  'anon_inode:[vfio-device]',
];
/** The same, which the broker does not list. */
export const VDPA_LINK = '/dev/vhost-vdpa';

/** A group that an IOMMU stands behind: `noiommu-N` maps, and so pins, nothing. */
const GROUP = /^\/dev\/vfio\/(\d+|devices\/vfio\d+)$/;

/**
 * Which of the devices that pin guest memory, or make udmabufs, these links are. Names of nodes: drivers/vfio/group.c (`vfio/N`),
 * drivers/vfio/device_cdev.c (`vfio/devices/vfioN`, 6.6), drivers/iommu/iommufd/main.c (`iommu`), drivers/vhost/vdpa.c; of the
 * device's own file: `anon_inode:[vfio-device]`, drivers/vfio/group.c vfio_device_open_file.
 * @param links one an open file; others are passed over
 * @param vdpaListed whether links of {@link VDPA_LINK} would be among them
 */
export function openDevices(links: readonly string[], vdpaListed: boolean): OpenDevices {
  const times = (link: string) => links.filter(each => each === link).length;
  const once = (pattern: RegExp) => [...new Set(links.filter(link => pattern.test(link)))].sort();
  return {
    udmabuf: times('/dev/udmabuf'),
    vfioGroups: once(GROUP),
    vfioDevices: times('anon_inode:[vfio-device]'),
    iommufd: times('/dev/iommu'),
    vdpa: vdpaListed ? once(/^\/dev\/vhost-vdpa-\d+$/) : null,
  };
}
