import { expect, test } from 'vitest';
import { pageHeaders } from './page-files.ts';

test('files of a page, by their extension, and no others', () => {
  expect(pageHeaders('.js')?.['content-type']).toBe('text/javascript; charset=utf-8');
  for (const other of ['', '.ts', '.map', '.JS', 'js', '.node', 'constructor', '.cjs'])
    expect(pageHeaders(other)).toBeNull();
});

test('the policy opens only the connections that are named', () => {
  const source = 'ws://127.0.0.1:8080';
  const [without, with_] = [[], [source]].map(
    connect => pageHeaders('.html', connect)?.['content-security-policy'],
  );
  expect(without).toContain("connect-src 'self';");
  expect(with_).toBe(without?.replace("connect-src 'self';", `connect-src 'self' ${source};`));
});
