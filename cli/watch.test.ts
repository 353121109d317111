import { EventEmitter } from 'node:events';
import stringWidth from 'string-width';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { watch } from './watch.ts';

const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGTSTP', 'SIGCONT'] as const;

class Terminal extends EventEmitter {
  readonly written: string[] = [];
  constructor(
    public rows = 10,
    public columns = 40,
  ) {
    super();
  }
  write(text: string): boolean {
    this.written.push(text);
    return true;
  }
  get stream(): NodeJS.WriteStream {
    return this as unknown as NodeJS.WriteStream;
  }
  /** The lines of the last screen, as drawn. */
  get screen(): string[] {
    const drawn = this.written.filter(text => text.startsWith('\x1b[H')).at(-1) ?? '';
    return drawn
      .replace(/^\x1b\[H/, '')
      .replace(/\x1b\[J$/, '')
      .split('\r\n')
      .map(line => line.replace(/\x1b\[0m\x1b\[K$/, ''));
  }
}

/** Only our own handlers hear it: the test runner has some too. */
const others = new Map(SIGNALS.map(signal => [signal, process.listeners(signal)]));
function signal(name: (typeof SIGNALS)[number]): void {
  for (const listener of process.listeners(name)) {
    if (!others.get(name)?.includes(listener)) listener(name);
  }
}
function expectNoHandlers(terminal: Terminal): void {
  for (const name of SIGNALS) expect(process.listeners(name)).toEqual(others.get(name));
  expect(terminal.listenerCount('resize')).toBe(0);
}
afterEach(() => vi.restoreAllMocks());

const screen = { seconds: 0.001, screen: true };
/** One sample: the next would be long after the end. */
const once = { seconds: 600, screen: true };

describe('on a terminal', () => {
  test('its own screen is entered and left, and each text overwrites the one before', async () => {
    const terminal = new Terminal();
    let n = 0;
    await watch(terminal.stream, screen, async () => {
      if (++n === 3) signal('SIGINT');
      return `sample ${n}\n`;
    });
    expect(terminal.written[0]).toBe(ENTER);
    expect(terminal.written.at(-1)).toBe(LEAVE);
    expect(terminal.written.filter(text => text === ENTER || text === LEAVE)).toHaveLength(2);
    expect(terminal.written.slice(1, -1).map(text => /sample \d/.exec(text)?.[0])).toEqual([
      'sample 1',
      'sample 2',
    ]);
    expect(terminal.screen).toEqual(['sample 2', '', 'Ctrl-C ends']);
    expectNoHandlers(terminal);
  });

  test('more lines than fit are counted, and wide ones cut', async () => {
    const terminal = new Terminal(6, 12);
    await watch(terminal.stream, once, async () => {
      setTimeout(() => signal('SIGTERM'), 5);
      return `${'日'.repeat(20)}\n\x1b[31m${'x'.repeat(30)}\x1b[39m\nc\nd\ne\nf\n`;
    });
    expect(terminal.screen).toEqual([
      '日日日日日…',
      '\x1b[31mxxxxxxxxxxx\x1b[39m…',
      'c',
      '… 3 more li…',
      '',
      'Ctrl-C ends',
    ]);
    expect(terminal.screen.every(line => stringWidth(line) <= 12)).toBe(true);
  });

  test.each([
    [0, 1],
    [1, 1],
    [3, 5],
  ])('a terminal of %i rows', async (rows, lines) => {
    const terminal = new Terminal(rows, 20);
    await watch(terminal.stream, once, async () => {
      setTimeout(() => signal('SIGINT'), 5);
      return 'a\n'.repeat(lines);
    });
    expect(terminal.screen).toHaveLength(3);
  });

  test('a resize draws the same sample again at once', async () => {
    const terminal = new Terminal();
    let n = 0;
    await watch(terminal.stream, once, async () => {
      n++;
      setTimeout(() => {
        terminal.columns = 5;
        terminal.emit('resize');
        signal('SIGINT');
      }, 5);
      return 'a long line\n';
    });
    expect(n).toBe(1);
    expect(terminal.screen[0]).toBe('a lo…');
  });

  test('a resize before anything was read draws nothing', async () => {
    const terminal = new Terminal();
    await watch(terminal.stream, screen, async () => {
      terminal.emit('resize');
      signal('SIGINT');
      return 'x\n';
    });
    expect(terminal.written).toEqual([ENTER, LEAVE]);
  });

  test('a failure restores the screen first', async () => {
    const terminal = new Terminal();
    let n = 0;
    const watching = watch(terminal.stream, screen, async () => {
      if (++n === 2) throw new Error('the process is gone');
      return 'x\n';
    });
    await expect(watching).rejects.toThrow('the process is gone');
    expect(terminal.written.at(-1)).toBe(LEAVE);
    expectNoHandlers(terminal);
  });

  test('a second Ctrl-C does not wait for a sample that hangs', async () => {
    const terminal = new Terminal();
    const exits: unknown[] = [];
    vi.spyOn(process, 'exit').mockImplementation(code => {
      exits.push(code);
      return undefined as never;
    });
    await watch(terminal.stream, screen, async () => {
      signal('SIGINT');
      signal('SIGINT');
      return 'x\n';
    });
    expect(exits).toEqual([130]);
  });

  test('Ctrl-Z gives the terminal back, and fg takes it again', async () => {
    const terminal = new Terminal();
    const stopped = vi.spyOn(process, 'kill').mockImplementation(() => true);
    await watch(terminal.stream, once, async () => {
      setTimeout(() => {
        signal('SIGTSTP');
        signal('SIGCONT');
        signal('SIGINT');
      }, 5);
      return 'x\n';
    });
    expect(stopped).toHaveBeenCalledExactlyOnceWith(process.pid, 'SIGSTOP');
    const [first, drawn, left, again, redrawn, last] = terminal.written;
    expect([first, left, again, last]).toEqual([ENTER, LEAVE, ENTER, LEAVE]);
    expect(redrawn).toBe(drawn);
  });
});

test('off a terminal the texts follow each other as they are', async () => {
  const terminal = new Terminal(2, 2);
  let n = 0;
  await watch(terminal.stream, { seconds: 0.001, screen: false }, async () => {
    if (++n === 3) signal('SIGTERM');
    return `{"long line": ${n}}\n`;
  });
  expect(terminal.written).toEqual(['{"long line": 1}\n', '{"long line": 2}\n']);
  expectNoHandlers(terminal);
});

test('one sample at a time', async () => {
  const terminal = new Terminal();
  let running = 0;
  let n = 0;
  await watch(terminal.stream, screen, async () => {
    expect(++running).toBe(1);
    await new Promise(resolve => setTimeout(resolve, 10));
    running--;
    if (++n === 3) signal('SIGINT');
    return 'x\n';
  });
  expect(n).toBe(3);
});
