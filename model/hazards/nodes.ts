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

/** The nodes where the pages of a memfd should lie, or why there is nothing to compare with. */
function expected(sample: Unjudged, ram: RamBackend | undefined): readonly number[] | string {
  const nodes = memoryNodes(sample);
  // Nowhere else to be.
  if (nodes?.length === 1) return nodes;
  const policy = policyNodes(ram);
  if (policy) return policy;
  const { cpuNodes } = sample.target;
  if (cpuNodes === null)
    return 'it is not known on which CPUs the process may run and on which nodes they are';
  if (cpuNodes.length === 1) return cpuNodes;
  return `the process may run on ${listed(cpuNodes)} and its memory has no policy: there is no node to compare with`;
}

function test(runs: RunColumns, sample: Unjudged): RunTest {
  const byMemfd = new Map<number, readonly number[] | string>();
  return run => {
    const inode = runs.ramInode[run] ?? Number.NaN;
    let nodes = byMemfd.get(inode);
    if (nodes === undefined) {
      nodes = expected(
        sample,
        sample.target.ram?.find(ram => ram.inode === inode),
      );
      byMemfd.set(inode, nodes);
    }
    return typeof nodes === 'string' ? nodes : !nodes.includes(runs.node[run] ?? -1);
  };
}

/** What the pages were compared with. */
function reference({ sample, ...hit }: PageHit): { words: string; evidence: Evidence[] } {
  const { target, host } = sample;
  const inodes = distinct({ sample, ...hit }, hit.runs.ramInode);
  const backends = (target.ram ?? []).filter(ram => inodes.includes(ram.inode) && policyNodes(ram));
  const [backend] = backends;
  if (backend?.policy) {
    const { mode, nodes } = backend.policy;
    return {
      words: `the memory backend ${backend.id} asks for ${listed(nodes)} (policy=${mode})`,
      evidence: [
        {
          source: `/proc/${target.pid}/cmdline`,
          field: `${backend.id}: policy, host-nodes`,
          value: `${mode}, ${nodes.join(',')}`,
          recheck: `tr '\\0' '\\n' </proc/${target.pid}/cmdline | grep memory-backend`,
        },
      ],
    };
  }
  const nodes = target.cpuNodes ?? [];
  return {
    words: `every thread of the process is kept on the CPUs of ${listed(nodes)}`,
    evidence: [
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
    ],
  };
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
      const { words, evidence } = reference(hit);
      return {
        title: `${share(hit)} on ${listed(there)}, away from where they are used`,
        explanation: `The pages lie on ${listed(there)}, but ${words}. Each access goes through the link between the nodes, and as long as the buffer lives neither automatic NUMA balancing nor migrate_pages() can bring the pages nearer, because they are ${heldWord(hit.sample)}.`,
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
          ...evidence,
        ],
      };
    },
  }),
];
