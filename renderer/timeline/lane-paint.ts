import type { Life } from '../../model/history/lives.ts';
import type { Gap } from '../../model/history/series.ts';
import type { Span } from '../state/time-range.svelte.ts';

/** Height of a lane, pixels. */
export const LANE = 20;

/** Colours of tokens.css, resolved. */
export interface LaneColours {
  readonly surface: string;
  readonly selected: string;
  readonly line: string;
  readonly hatch: string;
  readonly alive: string;
  readonly ended: string;
  readonly lost: string;
  readonly cursor: string;
}

export interface LanePicture {
  readonly width: number;
  readonly height: number;
  readonly span: Span;
  /** Time until which there are samples: what lives is drawn to here. */
  readonly end: number;
  readonly gaps: readonly Gap[];
  /** Lives in view, and the top of the first. */
  readonly lives: readonly Life[];
  readonly top: number;
  /** Key of the active one. */
  readonly active: string | null;
  /** Time below the pointer. */
  readonly at: number | null;
}

/** A part of a lane: what the buffer was like from a time to a time. */
export interface LanePart extends Span {
  /** `unseen`: it was there (its ctime says so) and no sample looked. `unread`: its pages were not read. */
  readonly kind: 'unseen' | 'unread' | 'connected' | 'disconnected';
}

/** The parts of a life in order, to the end of what was sampled. */
export function partsOf({ createdAt, firstSeen, lastSeen, gone, states }: Life, end: number): LanePart[] {
  const parts: LanePart[] = [];
  if (createdAt !== null && createdAt < firstSeen)
    parts.push({ from: createdAt, to: firstSeen, kind: 'unseen' });
  states.forEach(({ at, disconnected }, i) => {
    const to = states[i + 1]?.at ?? (gone === null ? end : lastSeen);
    const kind = disconnected === null ? 'unread' : disconnected > 0 ? 'disconnected' : 'connected';
    parts.push({ from: at, to, kind });
  });
  return parts;
}

/** Draws lanes. Nothing is narrower than is seen: a short life and a short loss have their least width. */
export function paintLanes(
  context: CanvasRenderingContext2D,
  picture: LanePicture,
  colours: LaneColours,
): void {
  const { width, height, span, end, gaps, lives, top, active, at } = picture;
  const xOf = (time: number) => ((time - span.from) / (span.to - span.from)) * width;
  const hatch = hatchPattern(context, colours.hatch);
  context.clearRect(0, 0, width, height);
  context.fillStyle = colours.surface;
  context.fillRect(0, 0, width, height);
  lives.forEach((life, i) => {
    const y = top + i * LANE;
    if (life.key === active) {
      context.fillStyle = colours.selected;
      context.fillRect(0, y, width, LANE);
    }
    context.fillStyle = colours.line;
    context.fillRect(0, y + LANE - 1, width, 1);
    const bar = (from: number, to: number, least: number, fill: string | CanvasPattern, part = 1) => {
      const [x, right] = [Math.max(-1, xOf(from)), Math.min(width + 1, xOf(to))];
      if (right < 0 || x > width) return;
      context.fillStyle = fill;
      const tall = (LANE - 9) * part;
      context.fillRect(x, y + 4 + (LANE - 9) - tall, Math.max(least, right - x), tall);
    };
    const colour = life.gone === null ? colours.alive : colours.ended;
    for (const { from, to, kind } of partsOf(life, end)) {
      if (kind === 'unseen' || kind === 'unread') {
        bar(from, to, 1, hatch);
        context.strokeStyle = colour;
        frame(context, xOf(from), y + 4, xOf(to), LANE - 9, width);
      } else {
        bar(from, to, 2, colour);
        if (kind === 'disconnected') bar(from, to, 3, colours.lost, 0.55);
      }
    }
    for (const part of partsOf(life, end)) {
      if (part.kind === 'disconnected') mark(context, xOf(part.from), y + 1, colours.lost);
    }
    if (life.gone !== null) {
      context.fillStyle = colours.ended;
      context.fillRect(xOf(life.lastSeen), y + 2, 2, LANE - 5);
    }
  });
  for (const gap of gaps) {
    const [x, right] = [xOf(gap.from), xOf(gap.to)];
    if (right < 0 || x > width) continue;
    const wide = Math.max(2, right - x);
    context.fillStyle = colours.surface;
    context.fillRect(x, 0, wide, height);
    context.fillStyle = hatch;
    context.fillRect(x, 0, wide, height);
  }
  if (at !== null) {
    context.fillStyle = colours.cursor;
    context.fillRect(Math.round(xOf(at)), 0, 1, height);
  }
}

/** A mark that points at the moment of a loss. */
function mark(context: CanvasRenderingContext2D, x: number, y: number, colour: string): void {
  context.fillStyle = colour;
  context.beginPath();
  context.moveTo(x - 4, y);
  context.lineTo(x + 4, y);
  context.lineTo(x, y + 5);
  context.fill();
}

function frame(
  context: CanvasRenderingContext2D,
  from: number,
  y: number,
  to: number,
  tall: number,
  width: number,
): void {
  const [x, right] = [Math.max(-2, from), Math.min(width + 2, to)];
  if (right - x < 3) return;
  context.lineWidth = 1;
  context.strokeRect(x + 0.5, y + 0.5, right - x - 1, tall - 1);
}

function hatchPattern(context: CanvasRenderingContext2D, colour: string): CanvasPattern | string {
  const tile = document.createElement('canvas');
  tile.width = 6;
  tile.height = 6;
  const on = tile.getContext('2d');
  if (on === null) return colour;
  on.strokeStyle = colour;
  on.lineWidth = 1;
  on.beginPath();
  for (const shift of [-6, 0, 6]) {
    on.moveTo(shift - 1, 7);
    on.lineTo(shift + 7, -1);
  }
  on.stroke();
  return context.createPattern(tile, 'repeat') ?? colour;
}
