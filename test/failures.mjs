/**
 * `node test/failures.mjs REPORT.json…`: name and message of each test that failed or was skipped, from vitest's JSON reports. They
 * come last, where the end of a log is all that is kept. A report that cannot be read is a failure too.
 */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';

/** Lines of a message that are shown; the log has all of it. */
const SHOWN_LINES = 30;

/** @param {string} message */
const shown = message =>
  message
    .split('\n')
    .filter(line => !line.includes('/node_modules/'))
    .slice(0, SHOWN_LINES)
    .join('\n         ');

for (const path of process.argv.slice(2)) {
  try {
    for (const file of JSON.parse(readFileSync(path, 'utf8')).testResults) {
      const name = relative(process.cwd(), file.name);
      // A file whose hook or import failed has a message of its own.
      if (file.status === 'failed' && file.message)
        console.log(`  FAILED ${name}\n         ${shown(file.message)}`);
      for (const test of file.assertionResults) {
        if (test.status === 'passed') continue;
        console.log(`  ${test.status === 'failed' ? 'FAILED' : 'SKIPPED'} ${name}: ${test.fullName}`);
        for (const message of test.failureMessages ?? []) console.log(`         ${shown(message)}`);
      }
    }
  } catch (error) {
    console.log(`  FAILED ${path}: no report (${error.message})`);
  }
}
