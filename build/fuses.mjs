// The fuses of an Electron binary: bytes behind a mark in it, which packaging sets once (docs/tutorial/fuses.md in Electron).
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

const MARK = 'dL7pKGdnNz796PbbjQWNKmHXBZaB9tsX';
/** In the order of the wire (build/fuses/fuses.json5 in Electron); later releases append. */
const NAMES = [
  'runAsNode',
  'enableCookieEncryption',
  'enableNodeOptionsEnvironmentVariable',
  'enableNodeCliInspectArguments',
  'enableEmbeddedAsarIntegrityValidation',
  'onlyLoadAppFromAsar',
  'loadBrowserProcessSpecificV8Snapshot',
  'grantFileProtocolExtraPrivileges',
];
const OFF = 0x30;
const ON = 0x31;

/** Where the wire begins in `bytes`, and how many fuses it has. Its format is version 1. */
function wire(binary, bytes) {
  const at = bytes.indexOf(MARK);
  if (at < 0 || bytes[at + MARK.length] !== 1) {
    throw new Error(`${binary} has no fuses of version 1: it is no Electron binary, or a newer kind.`);
  }
  return { start: at + MARK.length + 2, length: bytes[at + MARK.length + 1] };
}

/** The fuses that this binary has, by name: on or off. One that was removed from this release is left out. */
export function readFuses(binary) {
  const bytes = readFileSync(binary);
  const { start, length } = wire(binary, bytes);
  const states = NAMES.slice(0, length).map((name, index) => [name, bytes[start + index]]);
  return Object.fromEntries(
    states.filter(([, state]) => state === OFF || state === ON).map(([name, state]) => [name, state === ON]),
  );
}

/** Turns fuses on or off by name; throws where this binary does not have one of them, and has then changed nothing. */
export function setFuses(binary, wanted) {
  const { start } = wire(binary, readFileSync(binary));
  const has = readFuses(binary);
  const missing = Object.keys(wanted).find(name => !(name in has));
  if (missing !== undefined) throw new Error(`${binary} has no fuse ${missing}.`);
  const fd = openSync(binary, 'r+');
  try {
    for (const [name, on] of Object.entries(wanted)) {
      writeSync(fd, Buffer.of(on ? ON : OFF), 0, 1, start + NAMES.indexOf(name));
    }
  } finally {
    closeSync(fd);
  }
}
