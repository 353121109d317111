import fc from 'fast-check';
import { expect, test, vi } from 'vitest';

vi.mock('electron', () => ({ protocol: {} }));
const { findPageFile } = await import('./page.ts');

const folder = '/opt/pinscope/dist/renderer';
const path = (url: string) => findPageFile(folder, url)?.path;

test('files of the page, by their URL', () => {
  expect(path('pinscope://app/index.html')).toBe(`${folder}/index.html`);
  expect(path('pinscope://app/assets/index-1.js?x=1#y')).toBe(`${folder}/assets/index-1.js`);
});

test('a policy without inline scripts or styles goes with each', () => {
  const policy = findPageFile(folder, 'pinscope://app/index.html')?.headers['content-security-policy'];
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("script-src 'self'");
  expect(policy).not.toMatch(/unsafe-|https?:|\*/);
});

test.each([
  'pinscope://other/index.html',
  'file:///etc/passwd',
  'https://app/index.html',
  'pinscope://app/..%2f..%2fpackage.json',
  'pinscope://app/assets/..%2f..%2fmain.js',
  'pinscope://app/index.html%00.js',
  'pinscope://app/%',
  'pinscope://app/',
  'pinscope://app/noextension',
  'not a url',
])('nothing for %s', url => {
  expect(path(url)).toBeUndefined();
});

test('no URL leads out of the folder', () => {
  const piece = fc.constantFrom('..', '%2e%2e', '%2f', '/', 'a', '.js', '%5c', '\\', '.', '%252e', '//');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), pieces => {
      const found = path(`pinscope://app/${pieces.join('')}`);
      if (found !== undefined) expect(found.startsWith(`${folder}/`) && !found.includes('/../')).toBe(true);
    }),
    { numRuns: 3000 },
  );
});
