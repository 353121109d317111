import { plural } from '../format.ts';
import type { Damage } from './reader.ts';

/** A piece of damage in two sentences, for a person: what is missing, and where the file says so. Samples are counted from 1. */
export function damageText({ offset, sample, count, after, detail }: Damage): string {
  const what =
    count === null
      ? `The file is whole up to sample ${sample} and stops there`
      : `${plural(count, 'sample')} from sample ${sample + 1} on ${count === 1 ? 'is' : 'are'} missing`;
  const time =
    after === null ? '' : `, after the one taken ${after.replace('T', ' ').replace(/\.\d+Z$/, ' UTC')}`;
  return `${what}${time}. In the frame at byte ${offset}: ${detail}.`;
}
