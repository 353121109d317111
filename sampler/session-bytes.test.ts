import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { findFrames } from '../model/session-file/frame.ts';
import { deflater as pageDeflater, inflate as pageInflate } from '../renderer/transport/inflate.ts';
import { deflater as nodeDeflater, inflate as nodeInflate } from './session-bytes.ts';

const bundled = readFileSync(fileURLToPath(new URL('../renderer/public/recorded.pinscope', import.meta.url)));

test('a page inflates what zlib does, and what is cut or damaged nearly as far', async () => {
  for (const frame of findFrames(bundled)) {
    const member = bundled.subarray(frame.offset, frame.end);
    expect(await pageInflate(member)).toEqual(await nodeInflate(member));
    for (const end of [500, 3000, member.length - 2]) {
      const cut = await pageInflate(member.subarray(0, end));
      expect(cut).toMatchObject({ ended: false, trouble: null });
      const whole = await nodeInflate(member.subarray(0, end));
      expect(whole.text.startsWith(cut.text)).toBe(true);
      expect(whole.text.length - cut.text.length).toBeLessThan(6000);
    }
    const damaged = new Uint8Array(member);
    damaged.fill(0xff, 9000, 9050);
    const { text, ended } = await pageInflate(damaged);
    expect(ended).toBe(false);
    expect((await nodeInflate(member)).text.startsWith(text.slice(0, 20_000))).toBe(true);
    expect(text.length).toBeGreaterThan(20_000);
  }
});

test('a page compresses what zlib inflates', async () => {
  const [page, node] = [pageDeflater(), nodeDeflater()];
  const text = 'pages of a framebuffer '.repeat(1000);
  const parts = [await page.add(text), await page.add(text), await page.end()];
  expect(parts.map(part => part.length > 0)).toEqual([false, false, true]);
  const own = Buffer.concat([Buffer.alloc(48), Buffer.concat(parts)]);
  expect((await nodeInflate(own)).text).toBe(text + text);
  expect((await node.add(text)).length).toBeGreaterThan(0);
  await node.end();
});
