/** What would let a user read a file that was refused, by path; the first pattern that matches speaks. */
const GRANTS: readonly (readonly [RegExp, string])[] = [
  [/^\/proc\/kcore/, 'root (CAP_SYS_RAWIO), and no kernel lockdown at the level confidentiality'],
  [/^\/proc\/kpage/, 'root'],
  [/^\/proc\/\d+\/pagemap/, 'the same user as the process for its page table, root (CAP_SYS_ADMIN) for PFNs'],
  [/^\/proc\/\d+\//, 'the same user as the process, or root (CAP_SYS_PTRACE)'],
  [/^\/proc\/(pagetypeinfo|slabinfo|vmallocinfo)/, 'root'],
  [/^\/sys\/kernel\/(debug|tracing)/, 'root'],
  [/^\/dev\/udmabuf/, 'membership in the group that owns /dev/udmabuf (often kvm), or root'],
];

/** In words that a user can act on. */
export function grantFor(path: string): string {
  return GRANTS.find(([pattern]) => pattern.test(path))?.[1] ?? 'root';
}
