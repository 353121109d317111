import type { RigCase } from '../case.ts';
import { bufferCases } from './buffers.ts';

export const cases: readonly RigCase[] = [...bufferCases];
