import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { brokerFile, policyFile } from '../native/index.ts';
import { isRoot, lacks } from '../test/need.ts';
import { openHost } from './access.ts';
import { BROKER_PATH, installPlan, readInstallState } from './broker-install.ts';
import { Privilege } from './privilege.ts';

test('the plan is exactly what was built', () => {
  const { files, removal } = installPlan();
  expect(files.map(({ path, mode }) => [path, mode])).toEqual([
    [BROKER_PATH, '755'],
    ['/usr/share/polkit-1/actions/io.github.pinscope.policy', '644'],
  ]);
  for (const [i, source] of [brokerFile(), policyFile()].entries()) {
    const content = readFileSync(source);
    expect(files[i]?.bytes).toBe(content.byteLength);
    expect(files[i]?.sha256).toBe(createHash('sha256').update(content).digest('hex'));
    expect(removal).toContain(i === 0 ? '/usr/libexec/pinscope ' : (files[i]?.path ?? '-'));
  }
});

test('the policy’s actions are for that path, and never keep an answer', () => {
  const policy = readFileSync(policyFile(), 'utf8');
  const values = (key: string) =>
    [...policy.matchAll(new RegExp(`<annotate key="org.freedesktop.policykit.exec.${key}">(.*?)<`, 'g'))].map(
      ([, value]) => value,
    );
  expect(values('path')).toEqual([BROKER_PATH, BROKER_PATH]);
  expect(values('argv1')).toEqual(['pages', 'kernel-memory']);
  expect(new Set(policy.match(/(?<=<allow_\w+>)\w+/g))).toEqual(new Set(['auth_admin']));
});

describe.skipIf(lacks('root, to be another user', isRoot))('by user', () => {
  test('root needs no grant', async () => {
    const privilege = new Privilege(openHost(), 'sudo');
    expect(privilege.state).toEqual({ state: 'root' });
    expect(await privilege.grant('kernel-memory', null, true)).toEqual({ state: 'root' });
    expect(await privilege.revoke()).toEqual({ state: 'root' });
  });

  test.skipIf(existsSync(BROKER_PATH))('another: nothing is installed without a yes', async () => {
    process.seteuid?.(1000);
    try {
      const privilege = new Privilege(openHost(), 'sudo');
      const seen: string[] = [];
      privilege.onChange(({ state }) => seen.push(state));
      expect(privilege.state).toEqual({ state: 'ungranted', last: null, install: installPlan() });
      expect(readInstallState()).toMatchObject({ state: 'missing' });
      const state = await privilege.grant('kernel-memory', null, false);
      expect(state).toMatchObject({ state: 'ungranted', last: { reason: 'unavailable' } });
      expect(state.state === 'ungranted' && state.last?.detail).toContain(
        'not installed: /usr/libexec/pinscope',
      );
      expect(seen).toEqual(['asking', 'ungranted']);
      expect(await privilege.revoke()).toMatchObject({ state: 'ungranted', last: null });
    } finally {
      process.seteuid?.(0);
    }
  });
});
