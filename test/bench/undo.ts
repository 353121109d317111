/**
 * What must be given back however the program ends: kernel settings, child processes. Undone last first, by `undoAll`
 * or by a signal that ends the program. Each is synchronous, so that it also works while exiting.
 */
const undos: (() => void)[] = [];

/** Registers `undo` and returns a function that does it now, once. */
export function onEnd(undo: () => void): () => void {
  if (undos.length === 0) listen();
  undos.push(undo);
  return () => {
    const at = undos.indexOf(undo);
    if (at < 0) return;
    undos.splice(at, 1);
    undo();
  };
}

let listening = false;

function listen(): void {
  if (listening) return;
  listening = true;
  process.on('exit', undoAll);
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ] as const) {
    process.on(signal, () => process.exit(128 + number)); // which does the above
  }
}

function undoAll(): void {
  for (let undo = undos.pop(); undo !== undefined; undo = undos.pop()) {
    try {
      undo();
    } catch (error) {
      process.stderr.write(`could not give back: ${error instanceof Error ? error.message : error}\n`);
    }
  }
}
