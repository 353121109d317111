import { expect, test } from 'vitest';
import type { PrivilegeState } from '../../model/contract.ts';
import type { Rights } from '../../sampler/privilege.ts';
import { terminalRights } from './rights.ts';

/** Rights in a state, and what was asked of them. */
function rightsIn(state: PrivilegeState) {
  const asked: string[] = [];
  let tell = (_: PrivilegeState): void => {};
  const rights: Rights = {
    state,
    onChange: listener => {
      tell = listener;
      return () => {};
    },
    grant: async () => {
      asked.push('grant');
      return state;
    },
    revoke: async () => {
      asked.push('revoke');
      return { state: 'ungranted', last: null, install: null };
    },
  };
  return { rights: terminalRights(rights), asked, tell: (now: PrivilegeState) => tell(now) };
}
const plan = { files: [], removal: 'rm' };

test('a page that asks is told to ask in the terminal, and nothing is asked or installed', async () => {
  const { rights, asked } = rightsIn({ state: 'ungranted', last: null, install: plan });
  const told = {
    state: 'ungranted',
    install: null,
    last: { reason: 'unavailable', detail: expect.stringMatching(/pinscope serve .*--grant/) },
  };
  expect(await rights.grant('kernel-memory', null, true)).toEqual(told);
  expect(rights.state).toEqual(told);
  expect(asked).toEqual([]);
});

test('why there are none any more is told first', () => {
  const { rights, tell } = rightsIn({ state: 'root' });
  const seen: PrivilegeState[] = [];
  rights.onChange(state => seen.push(state));
  tell({
    state: 'ungranted',
    last: { reason: 'lost', detail: 'The broker is gone: it was killed.' },
    install: null,
  });
  expect(seen).toEqual([
    {
      state: 'ungranted',
      install: null,
      last: {
        reason: 'lost',
        detail: expect.stringMatching(/^The broker is gone: it was killed\. A page in a browser/),
      },
    },
  ]);
});

test('what there is stays as it is, and may be given back', async () => {
  const granted = { state: 'granted', level: 'kernel-memory', target: null, brokerPid: 9 } as const;
  const { rights, asked } = rightsIn(granted);
  expect(rights.state).toBe(granted);
  expect(await rights.grant('kernel-memory', null, false)).toBe(granted);
  expect(await rights.revoke()).toMatchObject({ state: 'ungranted', last: { reason: 'unavailable' } });
  expect(asked).toEqual(['revoke']);
});
