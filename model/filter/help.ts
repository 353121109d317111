import { FIELDS, type Field, operatorsOf } from './fields.ts';

const OF = { resource: '', several: 'any', pages: 'any page' } as const;

/** The table of fields of docs/FILTER.md, lines of Markdown: what a field is, what it takes, an example. */
export function fieldTable(): string[] {
  const rows = FIELDS.map((field: Field) => [
    `\`${field.id}\``,
    field.type,
    OF[field.of],
    `\`${operatorsOf(field).join(' ')}\``,
    field.help,
    `\`${field.example}\``,
  ]);
  const head = ['Field', 'Type', 'Holds for', 'Operators', 'Is', 'Example'];
  return [head, head.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`);
}
