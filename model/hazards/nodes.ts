import type { RunColumns } from '../run-columns.ts';
import type { RamBackend } from '../snapshot.ts';
import { distinct, type PageHit, pageRule, type RunTest, ranges, share } from './page-rule.ts';
import { type Evidence, heldWord, type Rule, recheckRuns, type Unjudged } from './rule.ts';

/** Policies under which every page has to come from `host-nodes` (or should, for `preferred`). */
const BINDING = ['bind', 'preferred', 'interleave'];

const policyNodes = (ram: RamBackend | undefined): readonly number[] | null =>
  ram?.policy && BINDING.includes(ram.policy.mode) && ram.policy.nodes.length > 0 ? ram.policy.nodes : null;

const listed = (nodes: readonly number[]): string =>
  `node${nodes.length === 1 ? '' : 's'} ${nodes.join(', ')}`;

/** Nodes on which pages can lie at all; `null`: not known. */
function memoryNodes({ host }: Unjudged): number[] | null {
  if (!host.zones) return null;
  return [...new Set(host.zones.filter(({ presentPages }) => presentPages > 0).map(({ node }) => node))];
}

/** Where pages should lie, and who says so. */
interface Reference {
  readonly nodes: readonly number[];
  /** The backend whose policy it is; null: the CPUs of the process. */
  readonly backend: RamBackend | null;
}

/** What the pages of a memfd are compared with; a text: nothing, and why. */
function references(sample: Unjudged, ram: RamBackend | undefined): readonly Reference[] | string {
  const there = memoryNodes(sample);
  // Nowhere else to be.
  if (there?.length === 1) return [{ nodes: there, backend: null }];
  const { cpuNodes } = sample.target;
  const policy = policyNodes(ram);
  const found: Reference[] = [];
  if (policy && ram) found.push({ nodes: policy, backend: ram });
  // All nodes with CPUs, for a process that may run everywhere: then only a node without CPUs is remote.
  if (cpuNodes && cpuNodes.length > 0) found.push({ nodes: cpuNodes, backend: null });
  return found.length > 0 ? found : 'it is not known on which nodes the CPUs of the process are';
}

const referencesOf = (sample: Unjudged, inode: number): readonly Reference[] | string =>
  references(
    sample,
    sample.target.ram?.find(ram => ram.inode === inode),
  );

function test(runs: RunColumns, sample: Unjudged): RunTest {
  const byMemfd = new Map<number, readonly Reference[] | string>();
  const unread = policiesUnread(sample);
  return run => {
    const inode = runs.ramInode[run] ?? Number.NaN;
    const there = byMemfd.get(inode) ?? referencesOf(sample, inode);
    byMemfd.set(inode, there);
    if (typeof there === 'string') return there;
    return there.some(({ nodes }) => !nodes.includes(runs.node[run] ?? -1)) || (unread ?? false);
  };
}

/** Why the policies of the memory are not known, of a QEMU whose command line has them; `undefined`: they are. */
const policiesUnread = (sample: Unjudged): string | undefined =>
  sample.target.kind === 'qemu' && sample.target.devices === null && memoryNodes(sample)?.length !== 1
    ? 'the policy of its memory is not known: the command line could not be read'
    : undefined;

/** What some of these pages do not agree with, once each. */
function violated(hit: PageHit): Reference[] {
  const found = new Map<RamBackend | null, Reference>();
  for (const run of hit.hits) {
    const there = referencesOf(hit.sample, hit.runs.ramInode[run] ?? Number.NaN);
    if (typeof there === 'string') continue;
    for (const reference of there) {
      if (!reference.nodes.includes(hit.runs.node[run] ?? -1)) found.set(reference.backend, reference);
    }
  }
  return [...found.values()];
}

const wordsOf = ({ nodes, backend }: Reference): string =>
  backend
    ? `the memory backend ${backend.id} asks for ${listed(nodes)} (policy=${backend.policy?.mode})`
    : `the threads of the process run on CPUs of ${listed(nodes)} alone`;

function evidenceOf({ target, host }: Unjudged, { nodes, backend }: Reference): Evidence[] {
  if (backend?.policy) {
    return [
      {
        source: `/proc/${target.pid}/cmdline`,
        field: `${backend.id}: policy, host-nodes`,
        value: `${backend.policy.mode}, ${backend.policy.nodes.join(',')}`,
        recheck: `tr '\\0' '\\n' </proc/${target.pid}/cmdline | grep memory-backend`,
      },
    ];
  }
  return [
    {
      source: `/proc/${target.pid}/task/*/status`,
      field: 'nodes of the CPUs in Cpus_allowed_list',
      value: nodes.join(', '),
      recheck: `grep -h Cpus_allowed_list /proc/${target.pid}/task/*/status | sort -u`,
    },
    ...(host.nodes ?? [])
      .filter(({ node }) => nodes.includes(node))
      .map(({ node, cpus }) => ({
        source: `/sys/devices/system/node/node${node}/cpulist`,
        field: 'CPUs',
        value: cpus.join(','),
        recheck: `cat /sys/devices/system/node/node${node}/cpulist`,
      })),
  ];
}

export const nodeRules: readonly Rule[] = [
  pageRule({
    id: 'remote-node',
    severity: 'warning',
    fires:
      'Pages of a udmabuf lie on another NUMA node than the CPUs of the process, or than the policy of its memory.',
    needs: ['node'],
    test,
    tell: hit => {
      const there = distinct(hit, hit.runs.node);
      const against = violated(hit);
      return {
        title: `${share(hit)} on ${listed(there)}, away from where they are used`,
        explanation: `The pages lie on ${listed(there)}, but ${against.map(wordsOf).join(', and ')}. Each access goes through the link between the nodes, and as long as the buffer lives neither automatic NUMA balancing nor migrate_pages() can bring the pages nearer, because they are ${heldWord(hit.sample)}.`,
        remedy:
          'Bind the memory where the CPUs are (host-nodes=N,policy=bind,prealloc=on at the memory backend, or numatune of libvirt), or the CPUs where the memory is, and have the resource made anew.',
        evidence: [
          {
            source: 'kernel-memory',
            field: `PFNs on ${listed(there)}`,
            value: ranges(hit, hit.runs.pfn),
            recheck: recheckRuns(
              hit.sample,
              hit.resource.inode,
              there.length === 1 ? `"node":${there[0]},` : '"node":',
            ),
          },
          ...against.flatMap(reference => evidenceOf(hit.sample, reference)),
        ],
      };
    },
  }),
];
