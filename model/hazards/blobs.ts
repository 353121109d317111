import type { TargetDevice } from '../snapshot.ts';
import { printable } from '../text.ts';
import {
  type Evidence,
  mayBeUdmabuf,
  type Outcome,
  type Reason,
  type Rule,
  type Unjudged,
  unlisted,
  whyMissing,
} from './rule.ts';

/** As qapi_bool_parse() of qapi/qapi-util.c. */
export const isOn = (value: string | undefined): boolean => /^(on|yes|true|y)$/.test(value ?? '');

/**
 * Devices that make their guest's blobs into udmabufs: virtio-gpu and virtio-vga with `blob=on`. Those of virgl (`-gl`) and
 * rutabaga leave blobs to their libraries.
 */
export const blobDevices = ({ target }: Unjudged): readonly TargetDevice[] =>
  target.devices?.virtioGpu.filter(
    ({ driver, properties }) => isOn(properties.blob) && !/-(gl|rutabaga)\b/.test(driver),
  ) ?? [];

/**
 * Whether a QEMU makes udmabufs of its guest's blobs, by its command line or because it has some; else why that cannot be told.
 * What is no QEMU does not: the rules that ask are about QEMU's configuration.
 */
export function makesBlobs(sample: Unjudged): boolean | Reason {
  const { target, resources } = sample;
  if (target.kind !== 'qemu') return unlisted(sample) ?? false;
  if (blobDevices(sample).length > 0 || resources.some(mayBeUdmabuf)) return true;
  if (target.devices === null) return unknownDevices(sample);
  return unlisted(sample) ?? false;
}

/** Why the devices of the command line are missing. */
export const unknownDevices = ({ sources }: Unjudged): Reason =>
  whyMissing(
    'the devices of this QEMU are not known',
    sources,
    ['cmdline'],
    'its command line could not be read',
  );

/** The check of a rule about a QEMU that makes udmabufs of its guest's blobs; of any other process it is silent. */
export const ofBlobs =
  (check: (sample: Unjudged) => Outcome): Rule['check'] =>
  sample => {
    const makes = makesBlobs(sample);
    return makes === true ? check(sample) : { found: [], because: makes === false ? [] : [makes] };
  };

/** Buffers of this process that are udmabufs, or may be. */
export const liveBlobs = ({ resources }: Unjudged) => resources.filter(mayBeUdmabuf);

/** `gpu0`, or what it is. */
export const deviceName = ({ id, driver }: TargetDevice): string => printable(id ?? driver);

/** A shell line that prints the options of the command line that hold a text of ours. */
export const recheckOptions = ({ target }: Unjudged, text: string): string =>
  `tr '\\0' '\\n' < /proc/${target.pid}/cmdline | grep -E -- '${text}'`;

/** The part of the command line that has a device. */
export const deviceEvidence = (sample: Unjudged, device: TargetDevice, value: string): Evidence => ({
  source: `/proc/${sample.target.pid}/cmdline`,
  field: `-device ${printable(device.driver)}`,
  value,
  recheck: recheckOptions(sample, 'virtio-(gpu|vga)'),
});

/** What QEMU can be asked to show, pixels of 4 bytes. */
export interface Screen {
  readonly device: TargetDevice;
  readonly width: number;
  readonly height: number;
  /** Outputs of this size side by side in one framebuffer, as Xorg draws them; 1: one output. */
  readonly outputs: number;
  readonly bytes: number;
}

/** Of hw/display/virtio-gpu-base.c and include/hw/virtio/virtio-gpu.h: VIRTIO_GPU_BASE_PROPERTIES, 5.1 to 10. */
const DEFAULT = { xres: 1280, yres: 800, outputs: 1 } as const;
const MOST_OUTPUTS = 16;

/**
 * Framebuffers that the configuration asks for, one a device and size: each output alone (`xres`, `yres`, and `outputs.N.xres` where
 * QEMU has it), and, where there are several, all in one. Only the first output has the size of the configuration; the others are
 * taken for as large. A device whose numbers cannot be read gives none.
 */
export function screens(sample: Unjudged): Screen[] {
  return blobDevices(sample).flatMap(device => {
    const number = (key: string, otherwise: number): number =>
      device.properties[key] === undefined ? otherwise : Number(device.properties[key]);
    const screen = (width: number, height: number, outputs: number): Screen => ({
      ...{ device, width, height, outputs },
      bytes: Math.ceil((width * outputs * height * 4) / 4096) * 4096,
    });
    const outputs = Math.min(number('max_outputs', DEFAULT.outputs), MOST_OUTPUTS);
    const width = number('xres', DEFAULT.xres);
    const height = number('yres', DEFAULT.yres);
    const own = Array.from({ length: MOST_OUTPUTS }, (_, i) => i)
      .filter(i => device.properties[`outputs.${i}.xres`] !== undefined)
      .map(i => screen(number(`outputs.${i}.xres`, width), number(`outputs.${i}.yres`, height), 1));
    return [
      screen(width, height, 1),
      ...own,
      ...(outputs > 1 ? [screen(width, height, outputs)] : []),
    ].filter(({ bytes }) => Number.isSafeInteger(bytes) && bytes > 0);
  });
}

/** `1920x1080`, `2 outputs of 1920x1080 in one framebuffer`. */
export const screenText = ({ width, height, outputs }: Screen): string =>
  outputs === 1 ? `${width}x${height}` : `${outputs} outputs of ${width}x${height} in one framebuffer`;
