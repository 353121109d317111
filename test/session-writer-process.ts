/** A process that records to be killed: `FILE SNAPSHOT`. Prints the number of samples after each that was written. */
import { readFileSync } from 'node:fs';
import { fromSnapshot } from '../model/run-columns.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { Recorder } from '../sampler/recorder.ts';

const [file = '', from = ''] = process.argv.slice(2);
const snapshot = JSON.parse(readFileSync(from, 'utf8')) as Snapshot;
const recorder = await Recorder.create(file, { periodMs: 1000, redact: false, replace: false });
for (let i = 0; ; i++) {
  const takenAt = new Date(Date.parse(snapshot.takenAt) + 1000 * i).toISOString();
  await recorder.add(fromSnapshot({ ...snapshot, takenAt }));
  process.stdout.write(`${recorder.samples}\n`);
}
