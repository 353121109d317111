// Runs in the page before its own scripts: a shell, and a sampler in a thread of its own, as the page meets them in the window,
// over a real MessagePort. `loadSample(path)` loads a sample of page-shell.ts, `sendSample(path)` sends it as an event and
// answers with the time at which it was on its way (performance.now() of the page).
(() => {
  const { message, contract } = window.fakeShell;
  const target = { pid: 4242, startTime: '1000' };

  function sampler() {
    let port;
    const types = { Float64Array, Int32Array, Int16Array, Uint8Array };
    const loaded = new Map();
    async function load(url, known) {
      const body = await (await fetch(url)).arrayBuffer();
      const length = Number(new BigUint64Array(body, 0, 1)[0]);
      const text = new TextDecoder().decode(new Uint8Array(body, 8, length));
      const sample = JSON.parse(text, (_, value) => {
        const type = types[value?.$column];
        // A copy of its own: a view would send the whole body with each column.
        return type === undefined ? value : new type(body, 8 + length + value.at, value.length).slice();
      });
      return { ...sample, target: { ...sample.target, ...known } };
    }
    self.onmessage = async ({ data }) => {
      if (data.port) {
        port = data.port;
        port.onmessage = call => {
          const value = call.data.method === 'listProcesses' ? data.list : undefined;
          port.postMessage({ kind: 'answer', id: call.data.id, value });
        };
        port.postMessage({ kind: 'event', event: data.hello });
        return;
      }
      if (!loaded.has(data.url)) loaded.set(data.url, await load(data.url, data.target));
      if (data.send) {
        const timing = { wallMs: 1, cpuMs: 1, taken: 1, skipped: 0 };
        port.postMessage({ kind: 'event', event: { type: 'sample', sample: loaded.get(data.url), timing } });
      }
      // What it cost to write the message is the sampler's.
      self.postMessage({ id: data.id, at: performance.timeOrigin + performance.now() });
    };
  }

  const worker = new Worker(URL.createObjectURL(new Blob([`(${sampler})()`], { type: 'text/javascript' })));
  const waiting = new Map();
  worker.onmessage = ({ data }) => {
    waiting.get(data.id)?.(data.at - performance.timeOrigin);
    waiting.delete(data.id);
  };
  const ask = (path, send) =>
    new Promise(resolve => {
      const id = Math.random();
      waiting.set(id, resolve);
      worker.postMessage({ id, url: new URL(path, location.href).href, send, target });
    });
  window.loadSample = path => ask(path, false);
  window.sendSample = path => ask(path, true);

  window.pinscope = {
    startup: async () => ({ version: '0', runtimeNotice: null, open: { pid: target.pid } }),
    onCommand: () => () => {},
    onOpen: () => () => {},
    onSampler: listener => {
      const channel = new MessageChannel();
      const process = { comm: 'qemu-system-x86', uid: 1000, user: 'dev', kind: 'qemu', name: 'synthetic' };
      const counts = { buffers: null, bufferBytes: null, oldest: null };
      const list = {
        schema: 'pinscope.processes/1',
        takenAt: new Date().toISOString(),
        hiddenProcesses: 0,
        processes: [{ ...target, ...process, ...counts }],
      };
      const privilege = { state: 'root' };
      const hello = { type: 'hello', contract, samplerPid: 1, privilege, periodMs: 1_000_000 };
      worker.postMessage({ port: channel.port1, list, hello }, [channel.port1]);
      queueMicrotask(() => listener({ state: 'running', restarts: 0 }));
      window.postMessage(message, '*', [channel.port2]);
      return () => {};
    },
  };
})();
