import { expect, test, vi } from 'vitest';

vi.mock('electron', () => ({ app: {}, BrowserWindow: {}, dialog: {} }));
const { pictureName } = await import('./picture.ts');

test('a picture is named by the local time, so that names sort', () => {
  expect(pictureName(new Date(2026, 2, 4, 5, 6, 7))).toBe('pinscope-2026-03-04-050607.png');
});
