import { printable } from '../../model/text.ts';
import type { Capability } from '../../sampler/capabilities.ts';
import type { Colours } from './colours.ts';
import { table, WIDTH } from './table.ts';
import { wrap } from './width.ts';

/** What can be read here, for a person, at most 100 columns. */
export function sourcesText(sources: readonly Capability[], colours: Colours): string {
  const [heading = '', ...rows] = table(
    [{ title: 'SOURCE' }, { title: 'STATE' }, { title: 'GIVES', min: 20 }],
    sources.map(({ name, state, gives }) => [printable(name), state, printable(gives)]),
  );
  const missing = sources.filter(({ state }) => state !== 'ok');
  const lines = [
    colours.bold(heading),
    ...rows.map((row, i) => (sources[i]?.state === 'ok' ? row : colours.warn(row))),
    ...(missing.length > 0 ? ['', colours.bold('Why not, and what would grant it')] : []),
    ...missing.flatMap(({ name, detail, grant }) => [
      // Some are called by their path, with which the detail begins.
      ...wrap(printable(detail.startsWith(`${name}: `) ? detail : `${name}: ${detail}`), WIDTH - 4).map(
        (part, i) => `  ${i > 0 ? '  ' : ''}${part}`,
      ),
      ...(grant ? wrap(`needs ${printable(grant)}`, WIDTH - 4).map(part => `    ${part}`) : []),
    ]),
  ];
  return `${lines.map(line => line.trimEnd()).join('\n')}\n`;
}
