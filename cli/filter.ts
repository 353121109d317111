import type { Expression } from '../model/filter/ast.ts';
import { FilterError } from '../model/filter/error.ts';
import { applyFilter } from '../model/filter/evaluate.ts';
import { parseFilter } from '../model/filter/parser.ts';
import type { Sample } from '../model/run-columns.ts';
import { CliError, EXIT } from './exit.ts';
import { type FilterResult, filterProblem } from './text/filter.ts';

/** A sample as a filter left it. */
export interface FilteredSample {
  /** With the dma-bufs that it holds for, the findings about them, and those about the process. */
  readonly sample: Sample;
  readonly result: FilterResult;
  /** The field `filter` of the JSON document. */
  readonly json: Pick<FilterResult, 'text' | 'shown' | 'of' | 'undecided'>;
}

/** The filter of a text, to be applied to samples. A text that is none throws a CliError that shows where and why. */
export function filterOf(text: string): (sample: Sample) => FilteredSample {
  let expression: Expression | null;
  try {
    expression = parseFilter(text);
  } catch (error) {
    if (!(error instanceof FilterError)) throw error;
    throw new CliError(`--filter: ${error.message}`, EXIT.usage, filterProblem(text, error));
  }
  return sample => {
    const { resources, undecided } = applyFilter(expression, sample);
    const inodes = new Set(resources.map(({ inode }) => inode));
    const findings = sample.findings.filter(({ resource }) => resource === null || inodes.has(resource));
    const json = { text, shown: resources.length, of: sample.resources.length, undecided };
    return {
      sample: { ...sample, resources, findings },
      result: { ...json, findingsLeftOut: sample.findings.length - findings.length },
      json,
    };
  };
}
