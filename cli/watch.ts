import { shorten } from './text/table.ts';

const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';

/**
 * Shows what `render` returns, again and again, until Ctrl-C. On a terminal in its own screen, as much as fits; elsewhere one
 * after another. One at a time: a slow one delays the next. Resolves on SIGINT or SIGTERM; rejects when `render` does.
 */
export async function watch(
  stream: NodeJS.WriteStream,
  seconds: number,
  render: () => Promise<string>,
): Promise<void> {
  let stopped = false;
  let wake = () => {};
  const stop = () => {
    stopped = true;
    wake();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  stream.on('resize', wakeUp);
  function wakeUp() {
    wake();
  }
  if (stream.isTTY) stream.write(ENTER);
  try {
    while (!stopped) {
      const text = await render();
      if (stopped) break;
      stream.write(stream.isTTY ? `\x1b[H\x1b[2J${cutTo(text, stream)}` : text);
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, seconds * 1000);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  } finally {
    if (stream.isTTY) stream.write(LEAVE);
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
    stream.off('resize', wakeUp);
  }
}

function cutTo(text: string, { rows = 24, columns = 80 }: NodeJS.WriteStream): string {
  const lines = text.trimEnd().split('\n');
  const room = rows - 2;
  const shown =
    lines.length > room ? [...lines.slice(0, room - 1), `… ${lines.length - room + 1} more lines`] : lines;
  // Colour codes have no width for string-width, so cutting by width keeps them unless they lie behind the cut.
  return `${shown.map(line => `${shorten(line, columns)}\x1b[0m`).join('\n')}\n\nCtrl-C ends`;
}
