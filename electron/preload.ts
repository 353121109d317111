/** Runs in the page's process, isolated from the page. Exposes exactly the contract. */
import { contextBridge, type IpcRendererEvent, ipcRenderer } from 'electron';
import { SAMPLER_PORT_MESSAGE, SHELL_CHANNELS, type ShellApi } from '../model/contract.ts';

function listen<T>(channel: string, listener: (value: T) => void): () => void {
  // The event stays here: it would hand ipcRenderer to the page.
  const relay = (_event: IpcRendererEvent, value: T) => listener(value);
  ipcRenderer.on(channel, relay);
  return () => void ipcRenderer.off(channel, relay);
}

const api: ShellApi = {
  startup: () => ipcRenderer.invoke(SHELL_CHANNELS.startup),
  savePicture: () => ipcRenderer.invoke(SHELL_CHANNELS.savePicture),
  onCommand: listener => listen(SHELL_CHANNELS.command, listener),
  onSampler: listener => listen(SHELL_CHANNELS.sampler, listener),
  onOpen: listener => listen(SHELL_CHANNELS.open, listener),
};

contextBridge.exposeInMainWorld('pinscope', api);

ipcRenderer.on(SHELL_CHANNELS.port, ({ ports }) => {
  // A port passes no context bridge; only our own page, in this very window, gets it.
  window.postMessage(SAMPLER_PORT_MESSAGE, window.location.origin, [...ports]);
});
