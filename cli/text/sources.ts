import { printable } from '../../model/text.ts';
import type { Capability } from '../../sampler/capabilities.ts';
import type { Colours } from './colours.ts';
import { table } from './table.ts';

/** What can be read here, for a person. */
export function sourcesText(sources: readonly Capability[], colours: Colours): string {
  const lines = table(
    [{ title: 'SOURCE' }, { title: 'STATE' }, { title: 'GIVES', max: 70 }],
    sources.map(({ name, state, gives }) => [name, state, gives]),
  );
  const [heading = '', ...rows] = lines;
  const missing = sources.filter(({ state }) => state !== 'ok');
  return `${[
    colours.bold(heading),
    ...rows.map((row, i) => (sources[i]?.state === 'ok' ? row : colours.warn(row))),
    ...(missing.length > 0 ? ['', colours.bold('Why not, and what would grant it')] : []),
    ...missing.flatMap(({ name, detail, grant }) => [
      `  ${name}: ${printable(detail)}`,
      ...(grant ? [`    needs ${grant}`] : []),
    ]),
  ].join('\n')}\n`;
}
