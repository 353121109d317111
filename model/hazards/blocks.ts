import { capital, plural } from '../format.ts';
import { type BlockPlan, planBlocks, planLine } from '../join/block-plan.ts';
import { unreadOf } from './page-rule.ts';
import { type Evidence, heldWord, type Reason, type Rule, type Unjudged, whyMissing } from './rule.ts';
import { udmabufs } from './use.ts';

/** Blocks named in evidence; the others are counted. */
const NAMED = 8;

export const blockRules: readonly Rule[] = [
  {
    id: 'block-held',
    severity: 'warning',
    fires: 'A memory block of ZONE_MOVABLE could go offline but for pages that a udmabuf holds.',
    needs: ['pages', 'memory-blocks'],
    check: sample => {
      const because = unplanned(sample);
      const held = planBlocks(sample).filter(({ alone }) => alone);
      const [first] = held;
      if (!first) return { found: [], because };
      const inodes = new Set(held.flatMap(({ heldBy }) => heldBy));
      const [only] = inodes;
      return {
        found: [
          {
            // The pages concerned are one buffer's, or those of several.
            resource: inodes.size === 1 ? (only ?? null) : null,
            title: `${plural(held.length, 'memory block')} of ZONE_MOVABLE ${held.length === 1 ? 'is' : 'are'} kept from going offline by ${plural(inodes.size, 'udmabuf')}`,
            explanation: [
              'Everything in a block of ZONE_MOVABLE has to be movable, so that the block can go offline; the pages that these buffers',
              'hold are not, for as long as they live. An offline does not fail on them, it loops (“migrating pfn … failed” in the log,',
              'again and again) until a signal ends it, and may have broken up free huge pages by then.',
              `Not known: ${first.unknown}.`,
            ].join(' '),
            remedy: `${capital(planLine(first))}${held.length > 1 ? '; the evidence has the plan of each block' : ''}: destroy the resource in the guest, or end every process that holds it. Then take the block offline, never before as a trial.`,
            evidence: held.slice(0, NAMED).map(plan => planEvidence(sample, plan, held.length)),
          },
        ],
        because,
      };
    },
  },
];

function planEvidence(sample: Unjudged, plan: BlockPlan, all: number): Evidence {
  const more = all > NAMED ? `, ${all} blocks in all` : '';
  const holders = plan.heldBy.flatMap(
    inode => sample.resources.find(each => each.inode === inode)?.holders ?? [],
  );
  const pids = [...new Set(holders.map(({ pid }) => pid))].sort((a, b) => a - b);
  return {
    source: `/sys/devices/system/memory/memory${plan.block}`,
    field: `${plan.state}, ${plan.validZones.join(' ')}, node ${plan.node ?? 'unknown'}: ${plural(plan.pinnedPages, 'page')} ${heldWord(sample)}${more}`,
    value: `${planLine(plan)}${pids.length > 0 ? `; held by process ${pids.join(', ')}` : ''}`,
    recheck: `grep . /sys/devices/system/memory/memory${plan.block}/{state,valid_zones}`,
  };
}

/** Why a held block may be missing. */
function unplanned(sample: Unjudged): Reason[] {
  const { mine, because } = udmabufs(sample);
  if (because.length === 0 && mine.length === 0) return [];
  const { memoryBlocks, memoryBlockBytes } = sample.host;
  if (memoryBlocks === null || memoryBlockBytes === null)
    return [
      ...because,
      whyMissing('the memory blocks are not known', sample.sources, ['memory-blocks'], 'not read'),
    ];
  return [...because, ...unreadOf(sample, mine)];
}
