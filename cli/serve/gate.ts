import type { IncomingMessage } from 'node:http';
import { printable } from '../../model/text.ts';
import { isToken } from './tokens.ts';

/** Why a request is not answered: a status of HTTP, and a sentence for whoever sees it. */
export interface Refusal {
  readonly status: 401 | 403 | 404 | 405 | 413 | 421 | 503;
  readonly sentence: string;
}

/** What every request is measured against. */
export interface Gate {
  readonly token: string;
  /** Host headers that are ours, in lower case. */
  readonly hosts: ReadonlySet<string>;
}

const shown = (text: string | undefined): string =>
  text === undefined ? 'none' : printable(text.slice(0, 80));

/** Refuses a request that names another host than ours: of a page whose name was made to lead here. */
export function refuseHost({ headers: { host } }: IncomingMessage, { hosts }: Gate): Refusal | null {
  if (host !== undefined && hosts.has(host.toLowerCase())) return null;
  const own = [...hosts].join(', ');
  const sentence = `This address is not one of Pinscope’s (Host is ${shown(host)}): open one of ${own}. A forwarded port must have the same number on both sides.`;
  return { status: 421, sentence };
}

/** Refuses what a page of another origin asks. Its Host must have been found ours. */
export function refuseOrigin({ headers: { host, origin } }: IncomingMessage): Refusal | null {
  if (origin !== undefined && origin.toLowerCase() === `http://${host}`.toLowerCase()) return null;
  return {
    status: 403,
    sentence: `Only Pinscope’s own page may ask this, and the page that asks is of ${shown(origin)}.`,
  };
}

export function refuseToken(given: string | undefined, { token }: Gate): Refusal | null {
  if (isToken(token, given)) return null;
  const what =
    given === undefined ? 'This page has no token' : 'The token of this page is not that of this start';
  return { status: 401, sentence: `${what}: open the address that pinscope serve has printed.` };
}
