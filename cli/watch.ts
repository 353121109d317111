import { shorten } from './text/width.ts';

const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';

export interface WatchOptions {
  /** Seconds between the end of one sample and the start of the next. */
  readonly seconds: number;
  /** Whether to show in a screen of its own, as much as fits; else one text after another. */
  readonly screen: boolean;
}

/**
 * Shows what `render` returns, again and again, until Ctrl-C. One at a time: a slow one delays the next. Resolves on SIGINT or
 * SIGTERM once the sample in progress has ended (a second signal exits at once); rejects when `render` does. However it
 * ends, also by Ctrl-Z, the terminal is left as it was.
 */
export async function watch(
  stream: NodeJS.WriteStream,
  { seconds, screen }: WatchOptions,
  render: () => Promise<string>,
): Promise<void> {
  let stopped = false;
  let entered = false;
  let shown: string | undefined;
  let wake = () => {};
  const enter = () => {
    if (!screen || entered) return;
    entered = true;
    stream.write(ENTER);
  };
  const leave = () => {
    if (!entered) return;
    entered = false;
    stream.write(LEAVE);
  };
  const draw = () => {
    if (shown !== undefined) stream.write(screen ? screenful(shown, stream) : shown);
  };
  const redraw = () => {
    if (screen) draw();
  };
  const stop = (signal: NodeJS.Signals) => {
    if (stopped) process.exit(signal === 'SIGINT' ? 130 : 143);
    stopped = true;
    wake();
  };
  const suspend = () => {
    leave();
    process.kill(process.pid, 'SIGSTOP');
  };
  const resume = () => {
    enter();
    redraw();
  };
  const signals: readonly (readonly [NodeJS.Signals, (signal: NodeJS.Signals) => void])[] = [
    ['SIGINT', stop],
    ['SIGTERM', stop],
    ...(screen ? ([['SIGTSTP', suspend] as const, ['SIGCONT', resume] as const] as const) : []),
  ];
  for (const [signal, react] of signals) process.on(signal, react);
  process.on('exit', leave);
  stream.on('resize', redraw);
  enter();
  try {
    while (!stopped) {
      shown = await render();
      if (stopped) break;
      draw();
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, seconds * 1000);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  } finally {
    leave();
    stream.off('resize', redraw);
    process.off('exit', leave);
    for (const [signal, react] of signals) process.off(signal, react);
  }
}

/** As many lines as the terminal has, none of them wrapped. Overwrites line by line: clearing first would flicker. */
function screenful(text: string, { rows = 24, columns = 80 }: NodeJS.WriteStream): string {
  const lines = text.trimEnd().split('\n');
  const room = Math.max(1, rows - 2);
  const shown =
    lines.length > room ? [...lines.slice(0, room - 1), `… ${lines.length - room + 1} more lines`] : lines;
  const drawn = [...shown.map(line => shorten(line, columns)), '', 'Ctrl-C ends'];
  return `\x1b[H${drawn.map(line => `${line}\x1b[0m\x1b[K`).join('\r\n')}\x1b[J`;
}
