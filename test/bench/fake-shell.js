// Runs in the page before its own scripts: a shell and a sampler as the page meets them in the window, over a real MessagePort.
// `loadSample(path)` loads a sample of page-shell.ts, `sendSample(path, change)` sends it as an event and answers with the time.
(() => {
  // Frames have nothing to show.
  if (window !== window.top) return;
  const { message, contract } = window.fakeShell;
  const channel = new MessageChannel();
  const port = channel.port1;
  const send = event => port.postMessage({ kind: 'event', event });
  const target = { pid: 4242, startTime: '1000' };
  const process = {
    ...target,
    comm: 'qemu-system-x86',
    uid: 1000,
    user: 'dev',
    kind: 'qemu',
    name: 'synthetic',
    buffers: null,
    bufferBytes: null,
    oldest: null,
  };
  const list = () => ({
    schema: 'pinscope.processes/1',
    takenAt: new Date().toISOString(),
    hiddenProcesses: 0,
    processes: [process],
  });
  port.onmessage = ({ data }) => {
    const value = data.method === 'listProcesses' ? list() : undefined;
    port.postMessage({ kind: 'answer', id: data.id, value });
  };

  const types = { Float64Array, Int32Array, Int16Array, Uint8Array };
  const loaded = new Map();
  async function load(path) {
    const body = await (await fetch(path)).arrayBuffer();
    const length = Number(new BigUint64Array(body, 0, 1)[0]);
    const text = new TextDecoder().decode(new Uint8Array(body, 8, length));
    const sample = JSON.parse(text, (_, value) => {
      const type = types[value?.$column];
      // A copy of its own: a view would send the whole body with each column.
      return type === undefined ? value : new type(body, 8 + length + value.at, value.length).slice();
    });
    return { ...sample, target: { ...sample.target, ...target } };
  }

  window.loadSample = async path => {
    if (!loaded.has(path)) loaded.set(path, await load(path));
  };
  window.sendSample = async (path, change = sample => sample) => {
    await window.loadSample(path);
    const sample = change(loaded.get(path));
    const at = performance.now();
    send({ type: 'sample', sample, timing: { wallMs: 1, cpuMs: 1, taken: 1, skipped: 0 } });
    return at;
  };
  window.pinscope = {
    startup: async () => ({ version: '0', runtimeNotice: null, open: { pid: target.pid } }),
    onCommand: () => () => {},
    onOpen: () => () => {},
    onSampler: listener => {
      queueMicrotask(() => listener({ state: 'running', restarts: 0 }));
      window.postMessage(message, '*', [channel.port2]);
      send({ type: 'hello', contract, samplerPid: 1, privilege: { state: 'root' }, periodMs: 1_000_000 });
      return () => {};
    },
  };
})();
