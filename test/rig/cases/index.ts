import type { RigCase } from '../case.ts';
import { brokerCases } from './broker.ts';
import { bufferCases } from './buffers.ts';
import { consoleCases } from './console.ts';
import { creationCases } from './creation.ts';
import { hazardCases } from './hazards.ts';
import { hugetlbHazardCases } from './hugetlb-hazards.ts';
import { lifetimeCases } from './lifetimes.ts';
import { nestedCases } from './nested.ts';
import { placeCases } from './places.ts';
import { qemuCases } from './qemu.ts';
import { raceCases } from './races.ts';
import { traceCases } from './trace.ts';
import { userCases } from './users.ts';
import { vfioCases } from './vfio.ts';
import { windowCases } from './window.ts';

export const cases: readonly RigCase[] = [
  ...bufferCases,
  ...placeCases,
  ...qemuCases,
  ...raceCases,
  ...userCases,
  // Before those that take memory offline: what comes back is not where it was.
  ...windowCases,
  ...hazardCases,
  ...vfioCases,
  ...lifetimeCases,
  ...creationCases,
  ...traceCases,
  ...hugetlbHazardCases,
  ...brokerCases,
  ...nestedCases,
  ...consoleCases,
];
