/** So long work waits for a quiet moment, milliseconds. */
const WAIT_MS = 150;

/**
 * Does work once what is about to be drawn was drawn: that is two frames, as a canvas learns its size in the first, and then a
 * moment in which nothing else is to be done. A page that nobody sees has no frames and does not wait for them.
 */
export function afterPaint(work: () => void): void {
  const quiet = () => requestIdleCallback(work, { timeout: WAIT_MS });
  if (document.hidden) quiet();
  else requestAnimationFrame(() => requestAnimationFrame(quiet));
}
