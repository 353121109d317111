/**
 * Whether somebody is connected to the one listening socket of that path: a monitor serves one client, and connecting
 * to a taken one would leave a dead connection in its queue. null: /proc/net/unix does not tell (no or several
 * listeners of that path, or a name with a newline).
 *
 * Rests on unix_seq_show() of net/unix/af_unix.c, 6.12: `%pK: refs protocol flags type state inode path`, abstract
 * names with `@`; an accepted socket carries its listener's path, one that waits to be accepted is in state 02.
 * Lines of another shape are skipped.
 * @param text /proc/net/unix of the network namespace.
 * @param path as the process bound it, e.g. `/run/vm/qmp.sock`.
 */
export function isListenerTaken(text: string, path: string): boolean | null {
  let listeners = 0;
  let connected = 0;
  for (const line of text.split('\n')) {
    const match =
      /^[0-9a-f]+: [0-9A-F]{8} [0-9A-F]{8} ([0-9A-F]{8}) [0-9A-F]{4} ([0-9A-F]{2}) +\d+ (.*)$/.exec(line);
    if (!match || match[3] !== path) continue;
    // __SO_ACCEPTCON, SS_CONNECTED
    if (Number.parseInt(match[1] ?? '', 16) & 0x10000) listeners++;
    else if (match[2] === '03') connected++;
  }
  return listeners === 1 ? connected > 0 : null;
}
