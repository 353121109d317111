import type { PrivilegeState } from '../../model/contract.ts';
import type { Rights } from '../../sampler/privilege.ts';

const HOW =
  'A page in a browser cannot ask for rights: end pinscope serve in its terminal and start it again with --grant, which asks sudo there';

/**
 * Rights that only the terminal can be asked for: who sits before a browser may be elsewhere. What there is may be given back.
 */
export function terminalRights(rights: Rights): Rights {
  const told = (state: PrivilegeState): PrivilegeState => {
    if (state.state !== 'ungranted') return state;
    const { last } = state;
    const detail = last === null ? HOW : `${last.detail.replace(/\.$/, '')}. ${HOW}`;
    // Nothing can be installed from here either.
    return { state: 'ungranted', last: { reason: last?.reason ?? 'unavailable', detail }, install: null };
  };
  return {
    get state() {
      return told(rights.state);
    },
    onChange: listener => rights.onChange(state => listener(told(state))),
    grant: async () => told(rights.state),
    revoke: async () => told(await rights.revoke()),
  };
}
