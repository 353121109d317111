import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DEVICE_LINKS, openDevices, VDPA_LINK } from './open-devices.ts';

describe('links of open files', () => {
  test('each device under its own head, a path once, an fd of a device each', () => {
    const links = [
      ...['/dev/udmabuf', '/dev/vfio/vfio', '/dev/vfio/12', '/dev/vfio/12', '/dev/vfio/devices/vfio0'],
      ...['anon_inode:[vfio-device]', 'anon_inode:[vfio-device]', '/dev/iommu', '/dev/vhost-vdpa-0'],
    ];
    expect(openDevices(links, true)).toEqual({
      udmabuf: 1,
      vfioGroups: ['/dev/vfio/12', '/dev/vfio/devices/vfio0'],
      vfioDevices: 2,
      iommufd: 1,
      vdpa: ['/dev/vhost-vdpa-0'],
    });
  });
  test.each([
    '/dev/vfio/vfio',
    '/dev/vfio/noiommu-3',
    '/dev/udmabuf0',
    '/dev/iommufd',
    '/dev/vhost-vdpa',
    '/tmp/dev/vfio/1',
    'anon_inode:[vfio-device] (deleted)',
    '',
  ])('%s is none of them', link => {
    expect(openDevices([link], true)).toEqual({
      ...{ udmabuf: 0, vfioGroups: [], vfioDevices: 0, iommufd: 0, vdpa: [] },
    });
  });
  test('links that were not listed are not “none”', () => {
    expect(openDevices(['/dev/vhost-vdpa-0'], false).vdpa).toBeNull();
  });
  test('what is found begins as what is asked for: else it would never be listed', () => {
    const link = fc.oneof(
      fc.constantFrom('/dev/udmabuf', '/dev/iommu', 'anon_inode:[vfio-device]', '/dev/vfio/devices/vfio7'),
      fc.nat(99).map(n => `/dev/vfio/${n}`),
      fc.nat(99).map(n => `/dev/vhost-vdpa-${n}`),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(link), links => {
        const listed = links.filter(each =>
          [...DEVICE_LINKS, VDPA_LINK].some(prefix => each.startsWith(prefix)),
        );
        expect(openDevices(listed, true)).toEqual(openDevices(links, true));
      }),
    );
  });
});
