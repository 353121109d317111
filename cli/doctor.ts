import type { PrivilegeLevel, TargetId } from '../model/contract.ts';
import { RULES, type Rule } from '../model/hazards/index.ts';
import { findingsAs } from '../model/hazards/recheck.ts';
import type { Sample } from '../model/run-columns.ts';
import type { Finding, NotChecked } from '../model/snapshot.ts';
import type { HostAccess } from '../sampler/access.ts';
import { readStat } from '../sampler/process.ts';
import { Sampler } from '../sampler/sampler.ts';
import { findByName, host, readList, taken, withProgress } from './commands.ts';
import { CliError, DOCTOR_EXIT, EXIT } from './exit.ts';
import { programHere } from './own-name.ts';
import { type Compared, compare, type Earlier, earlierOf } from './since.ts';

export interface DoctorOptions {
  readonly pid?: number;
  readonly name?: string;
  /** Ids of rules. */
  readonly rule?: readonly string[];
  readonly explain?: string;
  /** A session file. */
  readonly since?: string;
  readonly grant?: PrivilegeLevel;
  readonly json?: true;
}

/** What the rules say of one process. */
export interface Judged {
  readonly sample: Sample;
  /** Of the rules that were asked for. Shell lines are as they work here. */
  readonly findings: readonly Finding[];
  readonly notChecked: readonly NotChecked[];
  readonly compared: Compared | null;
}

/** What was asked for, resolved. */
export interface Examined {
  readonly rules: readonly string[];
  readonly judged: readonly Judged[];
  /** Processes that could not be looked at, each with the reason. */
  readonly unread: readonly string[];
  /** Processes that hide their files, and may hold udmabufs; 0 where one process was named. */
  readonly hidden: number;
  readonly earlier: Earlier | null;
}

/** `pinscope doctor`. Sets the exit code, DOCTOR_EXIT. */
export async function runDoctor(options: DoctorOptions): Promise<void> {
  for (const id of [...(options.rule ?? []), ...(options.explain === undefined ? [] : [options.explain])])
    mustBeRule(id);
  const access = host();
  if (options.explain !== undefined) {
    const { runExplain } = await import('./explain.ts');
    return runExplain(access, options.explain, options);
  }
  await withRights(access, options, async (sampler, named, earlier) => {
    const rules = options.rule ?? RULES.map(({ id }) => id);
    const examined = named
      ? { ...(await examineOne(sampler, named, rules, earlier)), unread: [], hidden: 0 }
      : await examineAll(access, sampler, rules);
    const all: Examined = { rules, earlier, ...examined };
    // Before anything is written: a reader may go away.
    process.exitCode = exitCodeOf(all, options.rule ?? []);
    process.stdout.write(options.json ? doctorJson(all, named !== null) : await doctorText(all));
  });
}

function mustBeRule(id: string): void {
  if (RULES.some(rule => rule.id === id)) return;
  throw new CliError(
    `no rule is called ${id}; the rules are: ${RULES.map(rule => rule.id).join(', ')}`,
    EXIT.usage,
  );
}

/**
 * Runs `use` with what was asked for: the process, if one was named (the one of the session, where only that was), the session
 * read and remembered by the sampler, and rights.
 */
export async function withRights(
  access: HostAccess,
  { pid, name, since, grant }: DoctorOptions,
  use: (sampler: Sampler, named: TargetId | null, earlier: Earlier | null) => Promise<void>,
): Promise<void> {
  const wanted = pid ?? (name === undefined ? null : await findByName(name));
  const running = wanted === null ? null : runningOf(access, wanted);
  const sampler = new Sampler(access);
  try {
    const earlier =
      since === undefined ? null : await earlierOf(since, running, sample => sampler.recall(sample));
    const named = running ?? earlier?.target ?? null;
    if (grant === 'pages' && named === null)
      throw new CliError('rights to “pages” are of one process: give --pid or --name', EXIT.usage);
    const run = () => use(sampler, named, earlier);
    if (grant === undefined) return await run();
    const { withGrant } = await import('./grant.ts');
    await withGrant(access, grant, named, run, () => sampler.rightsChanged());
  } finally {
    sampler.close();
  }
}

function runningOf({ files }: HostAccess, pid: number): TargetId {
  const stat = readStat(files, pid);
  if (stat.state !== 'ok')
    throw new CliError(`there is no process ${pid}; pinscope list shows the ones there are`, EXIT.noProcess);
  return { pid, startTime: String(stat.value.startTime) };
}

export async function sampleOf(sampler: Sampler, { pid, startTime }: TargetId): Promise<Sample> {
  return withProgress(async progress =>
    taken(await sampler.sample(pid, BigInt(startTime), progress.update), pid),
  );
}

/** The part of a sample's verdict that some rules have. */
function judgedBy(sample: Sample, rules: readonly string[], earlier: Earlier | null): Judged {
  const asked = new Set(rules);
  const isAsked = ({ rule }: { readonly rule: string }) => asked.has(rule);
  const findings = findingsAs(sample.findings.filter(isAsked), programHere());
  const notChecked = sample.notChecked.filter(isAsked);
  const then = earlier && { findings: earlier.findings.filter(isAsked) };
  return { sample, findings, notChecked, compared: then && compare(then, findings, notChecked) };
}

const examineOne = async (
  sampler: Sampler,
  named: TargetId,
  rules: readonly string[],
  earlier: Earlier | null,
): Promise<Pick<Examined, 'judged'>> => ({
  judged: [judgedBy(await sampleOf(sampler, named), rules, earlier)],
});

/** Every process of the list. One that ends meanwhile has no hazards. */
async function examineAll(
  access: HostAccess,
  sampler: Sampler,
  rules: readonly string[],
): Promise<Pick<Examined, 'judged' | 'unread' | 'hidden'>> {
  const { processes, hiddenProcesses: hidden } = await withProgress(progress => readList(progress, access));
  const judged: Judged[] = [];
  const unread: string[] = [];
  for (const target of processes) {
    try {
      judged.push(judgedBy(await sampleOf(sampler, target), rules, null));
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      if (error.code === EXIT.failed) unread.push(error.message);
    }
  }
  return { judged, unread, hidden };
}

/**
 * The code that scripts rely on. Rules that cannot be checked on one sample alone count only where there was more, or where they
 * were asked for by name.
 * @param named ids of those
 */
export function exitCodeOf(
  { judged, unread, hidden, earlier }: Pick<Examined, 'judged' | 'unread' | 'hidden' | 'earlier'>,
  named: readonly string[],
  table: readonly Pick<Rule, 'id' | 'needs'>[] = RULES,
): number {
  const severities = new Set(judged.flatMap(({ findings }) => findings.map(({ severity }) => severity)));
  if (severities.has('error')) return DOCTOR_EXIT.errors;
  if (severities.has('warning')) return DOCTOR_EXIT.warnings;
  const timeless = (id: string) => !table.find(rule => rule.id === id)?.needs.includes('past');
  const counts = ({ rule }: NotChecked) => earlier !== null || named.includes(rule) || timeless(rule);
  const open = judged.some(({ notChecked }) => notChecked.some(counts));
  return open || unread.length > 0 || hidden > 0 ? DOCTOR_EXIT.notChecked : DOCTOR_EXIT.nothing;
}

/** The plain form is of one process that was named; else every entry says whose it is. */
function doctorJson({ judged, unread, hidden, earlier }: Examined, one: boolean): string {
  const whose = ({ sample }: Judged) => (one ? {} : { pid: sample.target.pid });
  const document = {
    schema: 'pinscope.doctor/1',
    findings: judged.flatMap(each =>
      each.findings.map(finding => ({
        ...whose(each),
        ...finding,
        ...(each.compared ? { new: each.compared.isNew(finding) } : {}),
      })),
    ),
    notChecked: judged.flatMap(each =>
      each.notChecked.map(({ rule, because, grant }) => ({
        ...whose(each),
        rule,
        because,
        grant: grant ?? null,
      })),
    ),
    ...(one
      ? {}
      : {
          targets: judged.map(({ sample: { target } }) => ({
            pid: target.pid,
            comm: target.comm,
            startTime: target.startTime,
          })),
          unread,
          hiddenProcesses: hidden,
        }),
    ...(earlier
      ? {
          since: {
            file: earlier.file,
            from: earlier.from,
            to: earlier.to,
            samples: earlier.samples,
            gone: judged.flatMap(({ compared }) => compared?.gone ?? []),
          },
        }
      : {}),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

async function doctorText(examined: Examined): Promise<string> {
  const { examinedText } = await import('./text/doctor.ts');
  const { colours } = await import('./text/colours.ts');
  return examinedText(examined, colours);
}
