import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { recheckAs } from '../model/hazards/recheck.ts';
import { programFrom } from './own-name.ts';

test.each([
  ['/usr/bin/pinscope', '/usr/bin/node', 'pinscope'],
  ['/opt/Pinscope/pinscope', '/usr/bin/node', '/opt/Pinscope/pinscope'],
  ['/home/a/pinscope/dist/cli/pinscope.js', '/usr/bin/node', 'node /home/a/pinscope/dist/cli/pinscope.js'],
  // Where sudo does not look.
  ['/src/dist/cli/pinscope.js', '/home/a/.nvm/bin/node', '/home/a/.nvm/bin/node /src/dist/cli/pinscope.js'],
  ["/a b/it's/pinscope.js", '/usr/bin/node', `node '/a b/it'\\''s/pinscope.js'`],
])('%s by %s', (file, node, program) => {
  expect(programFrom(file, node)).toBe(program);
});

test('a shell takes the words as they are meant', () => {
  const program = programFrom("/a b/it's $HOME;`x`/pinscope.js", '/usr/bin/node');
  const { stdout } = spawnSync('sh', ['-c', `printf '%s\\n' ${program}`], { encoding: 'utf8' });
  expect(stdout).toBe("node\n/a b/it's $HOME;`x`/pinscope.js\n");
});

test.each([
  ['sudo pinscope snapshot --pid 1', 'sudo P snapshot --pid 1'],
  ['pinscope list | grep pinscope', 'P list | grep pinscope'],
  ['sudo grep pinscope /proc/1/maps', 'sudo grep pinscope /proc/1/maps'],
  ['pinscope-broker x', 'pinscope-broker x'],
])('only the command at the beginning is the program: %s', (line, expected) => {
  expect(recheckAs(line, 'P')).toBe(expected);
});

test('dollars of a path are no pattern', () => {
  expect(recheckAs('sudo pinscope list', "'/$&/$1'")).toBe("sudo '/$&/$1' list");
});
