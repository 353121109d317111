import { formatBytes, formatSpan } from '../../model/format.ts';
import type { Life } from '../../model/history/lives.ts';
import { printable } from '../../model/text.ts';

/** `14:47:15.269` UTC of a time; `?` for none. */
export function clockText(time: number): string {
  return Number.isFinite(time) ? new Date(time).toISOString().slice(11, 23) : '?';
}

/** `dma-buf 7, fb0`: what a lane is called. */
export const lifeName = ({ inode, name }: Life): string =>
  `dma-buf ${inode}${name ? ` ${printable(name)}` : ''}`;

/** A life in a sentence or two: size, birth, end, and what became of its pages. */
export function lifeText(life: Life, end: number): string {
  const { sizeBytes, createdAt, firstSeen, lastSeen, gone, states } = life;
  const size = sizeBytes === null ? 'size unknown' : formatBytes(sizeBytes);
  const born =
    createdAt === null
      ? `first seen ${clockText(firstSeen)}, created earlier`
      : `created ${clockText(createdAt)}`;
  const from = createdAt ?? firstSeen;
  const ended =
    gone === null
      ? `alive, ${createdAt === null ? 'at least ' : ''}${formatSpan(end - from)} old`
      : `gone between ${clockText(lastSeen)} and ${clockText(gone)}, after ${formatSpan(lastSeen - from)}`;
  return `${lifeName(life)}: ${size}, ${born}, ${ended}. ${lossText(states)}`.trim();
}

function lossText(states: Life['states']): string {
  const first = states.find(({ disconnected }) => (disconnected ?? 0) > 0);
  const last = states[states.length - 1];
  if (first === undefined) {
    return states.every(({ disconnected }) => disconnected === null) ? 'Its pages were not read.' : '';
  }
  const most = Math.max(...states.map(({ disconnected }) => disconnected ?? 0));
  const since = first === states[0] ? `already at ${clockText(first.at)}` : `from ${clockText(first.at)} on`;
  const over = last?.disconnected === 0 ? ', and none at the end' : '';
  return `Up to ${most} of its pages disconnected, ${since}${over}.`;
}
