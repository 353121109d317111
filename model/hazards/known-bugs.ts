import { capital, plural } from '../format.ts';
import { printable } from '../text.ts';
import { liveBlobs } from './blobs.ts';
import { hugetlbRefused } from './causes.ts';
import {
  type Evidence,
  type Outcome,
  type Reason,
  type Rule,
  SEVERITY_RANK,
  type Severity,
  type Unjudged,
  unlisted,
  whyMissing,
} from './rule.ts';

/** A fault of a kernel or of QEMU that is known, told by what is there and never by a version alone. */
interface Bug {
  readonly severity: Severity;
  /** A title of its own. */
  readonly title: string;
  readonly words: string;
  readonly fix: string;
  readonly evidence: readonly Evidence[];
}

const structLine = (type: string): string =>
  `bpftool btf dump file /sys/kernel/btf/vmlinux format c | grep -A14 '^struct ${type} {'`;

const btf = (type: string, members: string): Evidence => ({
  source: 'btf',
  field: `members of struct ${type}`,
  value: members,
  recheck: structLine(type),
});

/** Memfds of guest RAM on huge pages. */
const hugeRam = ({ target }: Unjudged) =>
  (target.ram ?? []).filter(({ pageSizeBytes }) => (pageSizeBytes ?? 0) > 4096);

const hugeEvidence = (sample: Unjudged): Evidence[] =>
  hugeRam(sample).map(({ inode, pageSizeBytes }) => ({
    source: `/proc/${sample.target.pid}/smaps`,
    field: `KernelPageSize of memfd ${inode}`,
    value: `${(pageSizeBytes ?? 0) / 1024} kB`,
    recheck: `sudo grep -A4 ' ${inode} ' /proc/${sample.target.pid}/smaps | grep KernelPageSize`,
  }));

type Check = (sample: Unjudged, has: (member: string) => boolean) => Bug | undefined;

/** 6.11 to 6.15, and stable 6.12: `folios` with `offsets`, and no `pages` for vmap to use. */
const vmap: Check = (sample, has) => {
  if (!has('udmabuf.folios') || has('udmabuf.pages') || hugeRam(sample).length === 0) return undefined;
  const attached = liveBlobs(sample).filter(({ attachments }) => (attachments?.length ?? 0) > 0);
  const devices = [...new Set(attached.flatMap(({ attachments }) => attachments ?? []))].map(({ device }) =>
    printable(device),
  );
  return {
    severity: 'info',
    title: 'vmap of buffers on huge pages shows wrong pages',
    words: `This kernel’s udmabuf maps the first page of each huge page for importers that read a buffer with the CPU (dma_buf_vmap: USB displays, some drivers without a GPU), or fails to map at all, instead of the page at the buffer’s offset. QEMU itself and devices that use the scatterlist are not touched.${devices.length > 0 ? ` Attached now: ${[...new Set(devices)].join(', ')}.` : ' No device is attached now.'}`,
    fix: 'run a kernel with the fix “udmabuf: fix vmap missed offset page” (6.16; struct udmabuf has pages again)',
    evidence: [btf('udmabuf', 'folios, offsets, no pages'), ...hugeEvidence(sample)],
  };
};

/** As long as there are `folios` without `pages` the driver is of before 6.16, and reserving came with 6.17. */
const unreserved: Check = (sample, has) => {
  if (!has('udmabuf.folios') || has('udmabuf.pages') || hugeRam(sample).length === 0) return undefined;
  if (sample.target.machineMemory?.prealloc === true) return undefined;
  return {
    severity: 'info',
    title: 'huge pages are taken without a reservation',
    words:
      'Where a huge page of the guest is not there yet, UDMABUF_CREATE takes one from the pool without reserving it first (memfd_alloc_folio), so that HugePages_Rsvd may wrap below 0 until the memfd closes; see reserve-underflow.',
    fix: 'start QEMU with prealloc=on at the memory backend, or run a kernel with “mm/memfd: reserve hugetlb folios before allocation” (6.17)',
    evidence: [btf('udmabuf', 'folios, no pages'), ...hugeEvidence(sample)],
  };
};

/** A dma_buf_attachment with `sgt` caches the device mapping of exporters with cache_sgt_mapping, such as udmabuf. */
const cachedMapping: Check = (sample, has) => {
  const attached = liveBlobs(sample).filter(({ attachments }) => (attachments?.length ?? 0) > 0);
  if (!has('dma_buf_attachment.sgt') || attached.length === 0) return undefined;
  return {
    severity: 'info',
    title: 'a device keeps its mapping until it detaches',
    words: `${plural(attached.length, 'buffer')} of this process ${attached.length === 1 ? 'is' : 'are'} attached to a device. This kernel caches the device mapping of a udmabuf (cache_sgt_mapping): it lives until detach, not until dma_buf_unmap_attachment(), so a device that has finished can still reach the pages.`,
    fix: 'have the importer detach, or run a kernel with b72f66f22c0e “dma-buf: drop caching of sg_tables” (6.15)',
    evidence: [
      btf('dma_buf_attachment', 'sgt'),
      {
        source: 'kernel-memory or bufinfo',
        field: 'attached buffers',
        value: attached.map(({ inode }) => String(inode)).join(', '),
        recheck: 'sudo cat /sys/kernel/debug/dma_buf/bufinfo',
      },
    ],
  };
};

/** A driver of before 6.11 and guest memory on huge pages. */
const olderHugetlb: Check = sample => {
  const how = hugetlbRefused(sample);
  if (how === null) return undefined;
  return {
    severity: how === 'likely' ? 'warning' : 'info',
    title: 'udmabuf of before 6.11 and guest memory on huge pages',
    words: `The driver takes no hugetlb memfd at all (6.4 to 6.10, b7cb3821905b: EBADFD), or only huge pages that are already there (5.14 to 6.3 and their stable series: EINVAL for a hole). Which one it is, its structures do not tell; the kernel calls itself ${printable(sample.host.kernel.release)}, and no live buffer lies in huge pages.`,
    fix: 'run Linux 6.11 or later (memfd_pin_folios), or start QEMU with hugetlb=off, or with prealloc=on on a kernel of the second kind',
    evidence: [btf('udmabuf', 'pages, no pinned_folios, no folios'), ...hugeEvidence(sample)],
  };
};

/** Up to 10.2 virtio_gpu_fini_udmabuf() closes the fd only of what was mapped (hw/display/virtio-gpu-udmabuf.c). */
const leakedFd: Check = sample => {
  const failed = (sample.target.refusals ?? []).filter(({ line }) => /virtio_gpu_remap_udmabuf/.test(line));
  const [first] = failed;
  if (!first) return undefined;
  const times = failed.reduce((sum, refusal) => sum + refusal.times, 0);
  return {
    severity: 'warning',
    title: `QEMU could not map ${plural(times, 'buffer')}, and keeps their pages`,
    words:
      'After a buffer was made its mmap failed. QEMU up to 10.2 then never closes the buffer’s file, so that its pages stay held until QEMU ends.',
    fix: 'restart QEMU; see that it has address space and mappings left (vm.max_map_count, RLIMIT_AS), or run a QEMU that closes the fd in virtio_gpu_fini_udmabuf() in every case (after 10.2)',
    evidence: [
      {
        source: printable(first.source),
        field: `message of QEMU, ${plural(times, 'time')}`,
        value: printable(first.line),
        recheck: `sudo grep -a virtio_gpu_remap_udmabuf /proc/${sample.target.pid}/fd/2`,
      },
    ],
  };
};

function check(sample: Unjudged): Outcome {
  const whole = unlisted(sample);
  if (whole !== null) return { found: [], because: [whole] };
  const { target, sources, host } = sample;
  const because: Reason[] = [];
  if (target.ram === null)
    because.push(whyMissing('the memory of this process is not known', sources, ['maps'], 'it was not read'));
  // Where there is neither a buffer nor a guest that could make one, no fault of the driver matters.
  if (liveBlobs(sample).length === 0 && target.kind !== 'qemu') return { found: [], because };
  const traits = host.kernel.traits ?? null;
  if (traits === null)
    because.push(
      whyMissing(
        'which form of the driver this is is not known',
        sources,
        ['btf'],
        'its structures were not looked at',
      ),
    );
  const has = (member: string) => traits?.includes(member) ?? false;
  const bugs = [olderHugetlb, vmap, unreserved, cachedMapping, leakedFd]
    .flatMap(of => of(sample, has) ?? [])
    .sort((a, b) => SEVERITY_RANK[a.severity] - SEVERITY_RANK[b.severity]);
  const [first] = bugs;
  if (!first) return { found: [], because };
  return {
    found: [
      {
        resource: null,
        severity: first.severity,
        title:
          bugs.length === 1
            ? `Known fault: ${first.title}`
            : `${bugs.length} known faults: ${bugs.map(({ title }) => title).join('; ')}`,
        explanation: bugs.map(({ words }) => words).join(' '),
        remedy: `${bugs.map(({ fix }) => capital(fix)).join('. ')}.`,
        evidence: bugs.flatMap(({ evidence }) => evidence),
      },
    ],
    because,
  };
}

export const bugRules: readonly Rule[] = [
  {
    id: 'known-bug',
    severity: 'info',
    fires: 'This kernel or QEMU has a known fault that touches this process, told by what is there.',
    needs: ['driver-form', 'ram', 'attachments', 'refusals', 'machine-memory'],
    check,
  },
];
