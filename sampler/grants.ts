/** Pinscope's own grants (docs/BROKER.md), as sentences end with them. */
export const PAGES_GRANT = 'Pinscope’s grant of pages';
export const KERNEL_MEMORY_GRANT = 'Pinscope’s grant of kernel memory';

/**
 * What would show the files of processes that hide them. Root that is refused lacks no right of a user: being told to become root
 * would not help.
 */
export const HOLDERS_GRANT =
  process.geteuid?.() === 0
    ? 'to run outside the container, namespace or security module that hides them'
    : `root (CAP_SYS_PTRACE) or ${KERNEL_MEMORY_GRANT}`;

/** What would let a user read a file that was refused, by path; the first pattern that matches speaks. */
const GRANTS: readonly (readonly [RegExp, string])[] = [
  [
    /^\/proc\/kcore/,
    `root (CAP_SYS_RAWIO) or ${KERNEL_MEMORY_GRANT}, and no kernel lockdown at the level confidentiality`,
  ],
  [/^\/proc\/(kpage|pagetypeinfo)/, `root or ${PAGES_GRANT}`],
  [
    /^\/proc\/\d+\/pagemap/,
    `the same user as the process for its page table, root (CAP_SYS_ADMIN) or ${PAGES_GRANT} for PFNs`,
  ],
  [
    /^\/proc\/\d+\/((s?maps|fd)\/?$|fdinfo\/)/,
    `the same user as the process, root (CAP_SYS_PTRACE) or ${PAGES_GRANT}`,
  ],
  [/^\/proc\/\d+\//, 'the same user as the process, or root (CAP_SYS_PTRACE)'],
  [/^\/sys\/kernel\/debug\/dma_buf\/bufinfo/, `root or ${PAGES_GRANT}`],
  [/^\/sys\/kernel\/(debug|tracing)/, 'root'],
  [/^\/dev\/udmabuf/, 'membership in the group that owns /dev/udmabuf (often kvm), or root'],
];

/** In words that a user can act on. */
export function grantFor(path: string): string {
  return GRANTS.find(([pattern]) => pattern.test(path))?.[1] ?? 'root';
}
