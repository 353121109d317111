import { RULES, type Rule } from '../model/hazards/index.ts';
import { type Input, inputsOf } from '../model/hazards/inputs.ts';
import { findingsAs, recheckAs } from '../model/hazards/recheck.ts';
import type { Sample } from '../model/run-columns.ts';
import type { HostAccess } from '../sampler/access.ts';
import { Sampler } from '../sampler/sampler.ts';
import { taken } from './commands.ts';
import { type DoctorOptions, exitCodeOf, sampleOf, withRights } from './doctor.ts';
import { CliError, EXIT } from './exit.ts';
import { programHere } from './own-name.ts';

/** A rule with its inputs. */
export interface Explained {
  readonly rule: Pick<Rule, 'id' | 'severity' | 'fires'>;
  readonly inputs: readonly Input[];
  /** What it was read of, and what the rule says of it; null: no process was named, and inputs are those of the host. */
  readonly of: Pick<Sample, 'takenAt' | 'target' | 'findings' | 'notChecked'> | null;
}

/**
 * `pinscope doctor --explain ID`: what a rule is, and the state of its inputs: on this host, or with a process also of that, and what
 * the rule says of it.
 */
export async function runExplain(access: HostAccess, id: string, options: DoctorOptions): Promise<void> {
  const rule = RULES.find(each => each.id === id);
  if (!rule) throw new CliError(`no rule is called ${id}`, EXIT.usage);
  await withRights(access, options, async (sampler, named, earlier) => {
    if (named === null) return print(await explainedHere(rule, access), options);
    const sample = await sampleOf(sampler, named);
    const findings = findingsAs(
      sample.findings.filter(finding => finding.rule === id),
      programHere(),
    );
    const notChecked = sample.notChecked.filter(each => each.rule === id);
    const judged = [{ sample, findings, notChecked, compared: null }];
    process.exitCode = exitCodeOf({ judged, unread: [], hidden: 0, earlier }, [id]);
    await print({ rule, inputs: inputsHere(rule, sample), of: { ...sample, findings, notChecked } }, options);
  });
}

const inputsHere = (rule: Rule, sample: Sample): Input[] =>
  inputsOf(rule, sample).map(input => ({ ...input, recheck: recheckAs(input.recheck, programHere()) }));

/**
 * A sample of ourselves reads everything that is of the host. What is of the process would be ours: of that only the name is told.
 */
async function explainedHere(rule: Rule, access: HostAccess): Promise<Explained> {
  const sampler = new Sampler(access);
  try {
    const sample = taken(await sampler.sample(process.pid), process.pid);
    const own = new RegExp(`^/proc/${process.pid}/|^/proc/\\*|^QMP`);
    const sources = sample.sources.filter(({ detail }) => !own.test(detail));
    const inputs = inputsOf(rule, { target: sample.target, sources });
    return { rule, inputs, of: null };
  } finally {
    sampler.close();
  }
}

async function print({ rule, inputs, of }: Explained, { json }: DoctorOptions): Promise<void> {
  if (json) {
    const { id, severity, fires } = rule;
    const document = {
      schema: 'pinscope.rule/1',
      ...{ id, severity, fires, reference: `docs/HAZARDS.md#${id}` },
      pid: of?.target.pid ?? null,
      takenAt: of?.takenAt ?? null,
      // Without a process a line for its files leads nowhere.
      inputs: inputs.map(({ recheck, ...input }) => (of ? { ...input, recheck } : input)),
      ...(of ? { findings: of.findings, notChecked: of.notChecked } : {}),
    };
    process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
    return;
  }
  const { explainedText } = await import('./text/explain.ts');
  const { colours } = await import('./text/colours.ts');
  process.stdout.write(explainedText({ rule, inputs, of }, colours));
}
