import { giganticRules } from './gigantic.ts';
import { cgroupRules } from './hugetlb-cgroup.ts';
import { poolRules } from './hugetlb-pool.ts';
import type { Rule } from './rule.ts';

/** Hazards of memory in huge pages of a pool. */
export const hugetlbRules: readonly Rule[] = [...poolRules, ...cgroupRules, ...giganticRules];
