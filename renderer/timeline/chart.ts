import uPlot from 'uplot';
import { formatBytes } from '../../model/format.ts';
import type { Gap, Series } from '../../model/history/series.ts';
import { HELD, placeOf, SIZE } from '../state/history.svelte.ts';
import type { Span } from '../state/time-range.svelte.ts';
import { clockText } from './lane-text.ts';

/** A line of the chart: a quantity of the history, its name, and the token of its colour. */
export interface Line {
  readonly key: string;
  readonly name: string;
  readonly token: string;
  readonly dash: readonly number[];
}

const DASHES: readonly (readonly number[])[] = [[], [7, 3], [2, 2]];
/** Places that have lines of their own. */
const MOST = 15;

/** Lines for what there is: the places, all of them together where there are several, and the size of the buffers. */
export function linesOf(keys: readonly string[]): Line[] {
  const places = keys
    .filter(key => key !== SIZE && key !== HELD)
    .map(key => ({ key, ...placeOf(key) }))
    .sort((a, b) => (a.node ?? -1) - (b.node ?? -1) || (a.zone ?? '').localeCompare(b.zone ?? ''))
    .slice(0, MOST);
  return [
    ...places.map(
      ({ key, node, zone }, i): Line => ({
        key,
        name: `${node === null ? 'unknown node' : `node ${node}`}, ${zone ?? 'unknown zone'}`,
        token: `--series-${(i % 5) + 1}`,
        dash: DASHES[Math.floor(i / 5)] ?? [],
      }),
    ),
    ...(places.length > 1 ? [{ key: HELD, name: 'all places', token: '--text', dash: [] }] : []),
    { key: SIZE, name: 'size of the buffers', token: '--series-6', dash: [4, 4] },
  ];
}

export interface ChartOptions {
  readonly lines: readonly Line[];
  readonly width: number;
  readonly height: number;
  /** Width of the axis on the left: the lanes below begin where the plot does. */
  readonly gutter: number;
  readonly right: number;
  readonly colour: (token: string) => string;
  readonly onzoom: (span: Span) => void;
}

const FONT = '11px system-ui, "DejaVu Sans", sans-serif';
/** Width of the longest label of a time, CSS pixels. */
const LABEL = 76;
/** Powers of two, so that bytes read well. */
const STEPS = Array.from({ length: 50 }, (_, i) => 2 ** i);
const FORMATS: readonly (readonly [number, (time: number) => string])[] = [
  [1000, time => clockText(time)],
  [60_000, time => clockText(time).slice(0, 8)],
  [86_400_000, time => clockText(time).slice(0, 5)],
  [Number.POSITIVE_INFINITY, time => new Date(time).toISOString().slice(5, 10)],
];

/** A chart of bytes over time, without a legend. Everything that it sets on elements goes through CSSOM, as the policy asks. */
export function makeChart(target: HTMLElement, options: ChartOptions): uPlot {
  const { lines, width, height, gutter, right, colour, onzoom } = options;
  const axis = {
    stroke: colour('--text-muted'),
    font: FONT,
    grid: { stroke: colour('--line-faint'), width: 1 },
  };
  const ticks = { stroke: colour('--line'), width: 1, size: 4 };
  return new uPlot(
    {
      width,
      height,
      ms: 1,
      padding: [8, right, 0, 0],
      legend: { show: false },
      tzDate: time => uPlot.tzDate(new Date(time), 'UTC'),
      scales: {
        x: { time: true, auto: false, range: (_, min, max) => [min, max] },
        y: { range: (_, _min, max) => [0, max > 0 ? max * 1.08 : 4096] },
      },
      axes: [
        {
          ...axis,
          ticks,
          space: 90,
          size: 26,
          // A label that the edge would cut is left out.
          filter: (chart, splits) =>
            splits.map(split => (chart.valToPos(split, 'x') > width - gutter - LABEL / 2 ? null : split)),
          values: (_, splits, _axis, _space, step) => {
            const format = FORMATS.find(([below]) => step < below)?.[1] ?? clockText;
            return splits.map(split => (split === null ? null : format(split)));
          },
        },
        {
          ...axis,
          ticks,
          size: gutter,
          incrs: STEPS,
          values: (_, splits) => splits.map(bytes => (bytes === 0 ? '0' : formatBytes(bytes))),
        },
      ],
      series: [
        {},
        ...lines.map(
          ({ name, token, dash }): uPlot.Series => ({
            label: name,
            stroke: colour(token),
            width: 1.5,
            dash: [...dash],
            spanGaps: false,
            points: { size: 4, fill: colour(token) },
          }),
        ),
      ],
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
      hooks: {
        setSelect: [
          chart => {
            const { left, width: wide } = chart.select;
            if (wide > 3) onzoom({ from: chart.posToVal(left, 'x'), to: chart.posToVal(left + wide, 'x') });
            chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
      },
    },
    [[]],
    target,
  );
}

/** Puts what is known of a span into the chart. */
export function fillChart(
  chart: uPlot,
  lines: readonly Line[],
  series: Series,
  gaps: readonly Gap[],
  { from, to }: Span,
): void {
  const { x, y } = series.draw(from, to, gaps);
  chart.batch(() => {
    chart.setData([x, ...lines.map(({ key }) => y.get(key) ?? [])] as uPlot.AlignedData, false);
    chart.setScale('x', { min: from, max: to });
  });
}

/**
 * Draws the line at a time; none where there is no time, or where the span does not have it. The place comes from the span and
 * not from uPlot's scale, which has the span only after its next frame.
 */
export function pointChart(
  chart: Pick<uPlot, 'setCursor'>,
  plotWidth: number,
  { from, to }: Span,
  at: number | null,
): void {
  const inside = at !== null && from <= at && at <= to;
  chart.setCursor(
    { left: inside ? ((at - from) / (to - from)) * plotWidth : -10, top: inside ? 10 : -10 },
    false,
  );
}
