import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { damaged, dishonestNumber } from '../../test/mutate.ts';
import { ParseError } from '../parse-error.ts';
import { QmpDecoder, type QmpMessage } from './qmp.ts';
import { isListenerTaken } from './unix-sockets.ts';

const session = readFileSync(
  new URL('../../test/fixtures/qemu-7.2/pc-5g/qmp-session.txt', import.meta.url),
  'latin1',
);

function decode(...chunks: readonly (string | Uint8Array)[]): QmpMessage[] {
  const decoder = new QmpDecoder();
  const messages: QmpMessage[] = [];
  for (const chunk of chunks) decoder.push(chunk, message => messages.push(message));
  return messages;
}

describe('QMP', () => {
  it('reads a recorded session', () => {
    const messages = decode(session);
    expect(messages[0]).toEqual({
      type: 'greeting',
      version: { major: 7, minor: 2, micro: 22, package: 'Debian 1:7.2+dfsg-7+deb12u18+b3' },
      capabilities: ['oob'],
    });
    expect(messages[1]).toEqual({ type: 'return', id: 'qmp_capabilities', value: {} });
    expect(messages.at(-1)).toEqual({
      type: 'error',
      id: 'no-such-command',
      class: 'CommandNotFound',
      description: 'The command no-such-command has not been found',
    });
    const text = messages.find(
      message => message.type === 'return' && message.id === 'human-monitor-command',
    );
    expect(text).toMatchObject({ value: expect.stringContaining('AS "memory", root: system') });
  });
  it('finds messages whatever the pieces', () => {
    const whole = decode(session);
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: session.length }), { maxLength: 40 }),
        fc.boolean(),
        (cuts, bytes) => {
          const at = [0, ...cuts.sort((a, b) => a - b), session.length];
          const pieces = at.slice(1).map((end, i) => session.slice(at[i], end));
          expect(decode(...pieces.map(piece => (bytes ? Buffer.from(piece, 'latin1') : piece)))).toEqual(
            whole,
          );
        },
      ),
      { numRuns: 30 },
    );
    expect(decode(...session)).toEqual(whole);
  });
  it('reads the pretty form', () => {
    const pretty = session
      .split('\n')
      .filter(Boolean)
      .map(line => JSON.stringify(JSON.parse(line), null, 4))
      .join('\r\n');
    expect(decode(pretty)).toEqual(decode(session));
  });
  it('is not misled by brackets and quotes in strings', () => {
    expect(decode('{"return": "}\\"]{\\\\", "id": 1}{"event": "E", "timestamp": {}}')).toEqual([
      { type: 'return', id: 1, value: '}"]{\\' },
      { type: 'event', name: 'E', data: null },
    ]);
  });
  it('keeps whole numbers past 2^53 as strings', () => {
    expect(
      decode(
        '{"return": [18446744073709551615, 9007199254740991, -9007199254740993, 1.5, "1e999 18446744073709551615"]}',
      ),
    ).toEqual([
      {
        type: 'return',
        id: null,
        value: ['18446744073709551615', 2 ** 53 - 1, '-9007199254740993', 1.5, '1e999 18446744073709551615'],
      },
    ]);
  });
  it.each([
    ['HMP', "QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) "],
    ['wrong brackets', '{"return": [}]'],
    ['no JSON', '{return: 1}'],
    ['a list', '[1]'],
    ['an object of nothing', '{"hello": 1}'],
    ['an id of objects', '{"return": 1, "id": {}}'],
    ['an error without words', '{"error": {"class": "GenericError"}}'],
    ['bytes that are not ASCII', '{"return": "é"}'],
    ['infinity', '{"return": 1e999}'],
    ['a greeting without version', '{"QMP": {"capabilities": []}}'],
    ['endless nesting', `{"return": ${'['.repeat(2000)}`],
  ])('refuses %s, and everything after it', (_, text) => {
    const decoder = new QmpDecoder();
    const seen: QmpMessage[] = [];
    const push = (chunk: string) => () => decoder.push(chunk, message => seen.push(message));
    expect(push(`{"event": "BEFORE"}${text}`)).toThrow(ParseError);
    expect(seen).toEqual([{ type: 'event', name: 'BEFORE', data: null }]);
    expect(push('{"event": "AFTER"}')).toThrow(ParseError);
  });
  it('bounds a message without end, not the stream', () => {
    const decoder = new QmpDecoder(1000);
    const none = (): void => {};
    for (let i = 0; i < 100; i++) decoder.push(`{"event": "${'E'.repeat(500)}"}\r\n`, none);
    decoder.push('{"return": "', none);
    decoder.push('x'.repeat(900), none);
    expect(() => decoder.push('x'.repeat(200), none)).toThrow(/at most 1000 bytes/);
  });
  it('survives damage', () => {
    const short = session
      .split('\n')
      .filter(line => line.length < 400)
      .join('\n');
    fc.assert(
      fc.property(damaged(short), text => {
        const messages: QmpMessage[] = [];
        try {
          new QmpDecoder().push(text, message => messages.push(message));
        } catch (error) {
          expect(error).toBeInstanceOf(ParseError);
        }
        for (const message of messages) {
          // Fractions are QEMU's own; whole numbers must be exact.
          const wrong = dishonestNumber(message);
          if (wrong !== undefined) expect(wrong).toMatch(/ = -?\d+\.\d+(e-\d+)?$/);
        }
      }),
    );
  });
});

describe('/proc/net/unix', () => {
  const text = readFileSync(new URL('../../test/fixtures/qemu-7.2/net-unix.txt', import.meta.url), 'latin1');
  it('tells a taken listener from a free one', () => {
    expect(isListenerTaken(text, '/tmp/vm/a,b.sock')).toBe(true);
    expect(isListenerTaken(text, '/tmp/vm/free.sock')).toBe(false);
    expect(isListenerTaken(text, '/tmp/vm/none.sock')).toBeNull();
    expect(isListenerTaken(text.repeat(2), '/tmp/vm/free.sock')).toBeNull();
    expect(isListenerTaken('', '')).toBeNull();
  });
});
