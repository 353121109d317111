/** What an ordinary user gets by a broker that polkit or sudo allowed, against the same second sources as root's. */
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { DOCTOR_EXIT } from '../../../cli/exit.ts';
import type { PrivilegeState } from '../../../model/contract.ts';
import { parseStat } from '../../../model/proc/stat.ts';
import { toSnapshot } from '../../../model/run-columns.ts';
import type { Snapshot } from '../../../model/snapshot.ts';
import { BROKER_PATH } from '../../../sampler/broker-install.ts';
import { CAPABILITIES, statusLines } from '../../broker-status.ts';
import { GoodPage } from '../../served.ts';
import type { CaseContext, RigCase } from '../case.ts';
import { pagesOf, samePfns } from '../compare.ts';
import type { Buffers } from '../guest/buffers.ts';
import { allowSudo, Polkit, type PolkitAnswer } from '../guest/polkit.ts';
import { PrivilegeDriver } from '../guest/privilege-driver.ts';
import { startServe } from '../guest/serve.ts';

const AS_USER = ['setpriv', '--reuid=1000', '--regid=1000', '--clear-groups', '--inh-caps=-all', '--'];
const BUFFERS = ['--memfd', 'shmem,4M', '--buffer', '12K,1M', '--memfd', 'huge2m,4M', '--buffer', '2M,1M'];

async function polkit(t: CaseContext, answer: PolkitAnswer): Promise<Polkit> {
  const running = await Polkit.start(answer);
  t.atEnd(() => running.stop());
  return running;
}

function driver(t: CaseContext): PrivilegeDriver {
  const started = PrivilegeDriver.start(t.root, AS_USER);
  t.atEnd(() => started.quit());
  return started;
}

const targetOf = (pid: number) => {
  const { startTime } = parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  return { pid, startTime: String(startTime) };
};

/** By the product's own command, as root. */
async function installed(t: CaseContext): Promise<void> {
  const { code, stderr } = await t.pinscope(['broker', 'install']);
  t.equal('pinscope broker install', code === 0 ? 0 : stderr, 0);
  const status = await t.pinscope(['broker', 'status', '--json'], AS_USER);
  t.equal('it is installed for the user', [status.code, JSON.parse(status.stdout).state], [0, 'installed']);
  t.atEnd(async () => {
    t.equal('pinscope broker remove', (await t.pinscope(['broker', 'remove'])).code, 0);
    t.equal('nothing is left', existsSync('/usr/libexec/pinscope'), false);
  });
}

function checkPages(t: CaseContext, what: string, snapshot: Snapshot, helper: Buffers): void {
  for (const witness of helper.buffers) {
    t.equal(`${what}: buffer ${witness.index}`, samePfns(pagesOf(snapshot, witness.inode).runs, witness), {
      same: 256,
      of: 256,
    });
  }
}

const brokerPid = (state: PrivilegeState): number => (state.state === 'granted' ? state.brokerPid : 0);

async function until(condition: () => boolean): Promise<boolean> {
  for (let i = 0; i < 100 && !condition(); i++) await new Promise(resolve => setTimeout(resolve, 100));
  return condition();
}

export const brokerCases: readonly RigCase[] = [
  {
    name: 'broker by pkexec at level kernel-memory: all pages for an ordinary user, also of another user’s process',
    boot: 'zones',
    async run(t) {
      await t.sh('chmod 666 /dev/udmabuf');
      await installed(t);
      await polkit(t, 'yes');
      const mine = await t.buffersAs(AS_USER, ...BUFFERS);
      // Its own page map shows an ordinary user no PFNs; root's process is a witness for itself.
      const others = await t.buffers(...BUFFERS);
      const user = driver(t);
      const before = await user.snapshot(mine.pid);
      t.equal(
        'no pages before',
        before.resources.map(({ pages }) => pages),
        [null, null],
      );
      const state = await user.grant('kernel-memory', null);
      t.equal('granted', [state.state, 'level' in state && state.level], ['granted', 'kernel-memory']);
      const pid = brokerPid(state);
      t.equal('confined', statusLines(pid), { ...CAPABILITIES['kernel-memory'], uid: '1000' });
      t.equal(
        'its files',
        (await t.sh(`readlink /proc/${pid}/fd/* | sed 's/socket:.*/socket/' | sort | uniq -c`))
          .trim()
          .split(/\s*\n\s*/),
        ['2 /dev/null', '1 /proc', '1 socket'],
      );

      checkPages(t, 'another user’s', await user.snapshot(others.pid), others);
      const snapshot = await user.snapshot(mine.pid);
      const asRoot = await t.snapshot(mine.pid);
      t.equal('pages as root sees them', snapshot.resources, asRoot.resources);
      t.equal('memory as root sees it', snapshot.target.ram, asRoot.target.ram);
      t.equal(
        'nothing is denied that root reads',
        snapshot.sources.filter(source => source.state === 'denied').map(({ name }) => name),
        asRoot.sources.filter(source => source.state === 'denied').map(({ name }) => name),
      );
      t.ok(
        'kernel memory is open',
        (await user.descriptors()).includes('/proc/kcore'),
        await user.descriptors(),
      );

      const revoked = await user.revoke();
      t.equal('revoked', revoked, { state: 'ungranted', last: null, install: null });
      t.equal('nothing that it handed over stays open', await user.descriptors(), []);
      t.ok('the broker ended', await until(() => !existsSync(`/proc/${pid}`)));
      t.equal(
        'no pages after',
        (await user.snapshot(mine.pid)).resources.map(({ pages }) => pages),
        [null, null],
      );

      const again = brokerPid(await user.grant('kernel-memory', null));
      await t.sh(`kill -KILL ${again}`);
      t.ok('its loss is noticed', await until(() => !existsSync(`/proc/${again}`)));
      const lost = await user.snapshot(mine.pid);
      t.equal(
        'what is left is shown',
        lost.resources.map(({ pages }) => pages),
        [null, null],
      );
      const after = await user.state();
      t.equal('lost', after.state === 'ungranted' && after.last?.reason, 'lost');
      t.equal('nothing stays open after a loss', await user.descriptors(), []);

      const third = brokerPid(await user.grant('kernel-memory', null));
      t.ok('a third broker runs', third > 0 && existsSync(`/proc/${third}`), third);
      user.kill();
      t.ok('it ends with its client', await until(() => !existsSync(`/proc/${third}`)));
    },
  },
  {
    name: 'broker by pkexec at level pages: one process, and no other',
    boot: 'zones',
    async run(t) {
      await t.sh('chmod 666 /dev/udmabuf');
      await installed(t);
      await polkit(t, 'yes');
      const target = await t.buffers(...BUFFERS);
      const other = await t.buffers(...BUFFERS);
      const user = driver(t);
      const state = await user.grant('pages', targetOf(target.pid));
      t.equal('granted', state, {
        state: 'granted',
        level: 'pages',
        target: targetOf(target.pid),
        brokerPid: brokerPid(state),
      });
      t.equal('confined', statusLines(brokerPid(state)), { ...CAPABILITIES.pages, uid: '1000' });
      const snapshot = await user.snapshot(target.pid);
      t.equal(
        'its buffers are seen',
        snapshot.resources.map(({ inode, sizeBytes, exporter }) => [inode, sizeBytes, exporter]),
        target.buffers.map(({ inode, sizeBytes }) => [inode, sizeBytes, 'udmabuf']),
      );
      t.equal('its memory is seen', snapshot.target.ram?.length, 2);
      const denied = snapshot.sources.filter(source => source.state === 'denied').map(({ name }) => name);
      t.ok('kernel memory is not', denied.includes('kernel-memory'), denied);
      t.ok(
        'pagetypeinfo and bufinfo are',
        !denied.includes('pagetypeinfo') && !denied.includes('bufinfo'),
        denied,
      );
      const refused = await user.snapshot(other.pid);
      t.equal('another process: nothing', [refused.resources, refused.target.ram], [[], null]);
    },
  },
  {
    name: 'broker refused by policy, without an agent, not installed: the state says so, and nothing is opened',
    boot: 'zones',
    // Nothing of it depends on the kernel, and it starts the program many times.
    kernels: ['6.12'],
    async run(t) {
      const user = driver(t);
      const missing = await user.grant('kernel-memory', null);
      t.ok(
        'not installed: the plan is told, nothing is done',
        missing.state === 'ungranted' &&
          missing.last?.reason === 'unavailable' &&
          missing.install?.files.length === 2,
        missing,
      );
      let daemon = await Polkit.start('installing');
      t.atEnd(() => daemon.stop());
      const byPkexec = await user.grant('kernel-memory', null, true);
      t.equal('installed and granted by pkexec', [byPkexec.state, 'install' in byPkexec], ['granted', false]);
      t.equal(
        'modes',
        (
          await t.sh(
            'stat -c "%U:%G %a" /usr/libexec/pinscope /usr/libexec/pinscope/* /usr/share/polkit-1/actions/io.github.pinscope.policy',
          )
        )
          .trim()
          .split('\n'),
        ['root:root 755', 'root:root 755', 'root:root 644'],
      );
      await user.revoke();
      for (const [answer, reason, words] of [
        ['no', 'refused', /polkit refused/],
        ['ask', 'unavailable', /agent/],
      ] as const) {
        daemon = await daemon.answer(answer);
        const state = await user.grant('kernel-memory', null);
        t.ok(
          `${answer}: ${reason}`,
          state.state === 'ungranted' && state.last?.reason === reason && words.test(state.last.detail),
          state,
        );
        t.equal(`${answer}: no files`, await user.descriptors(), []);
      }
      const asked = await t.sh(
        // A terminal of its own, for the agent that pkexec brings; it gets no password.
        `timeout 30 ${AS_USER.join(' ')} script -qec 'pkexec ${BROKER_PATH} pages 4711 815' /dev/null </dev/null 2>&1 || true`,
      );
      t.ok(
        'what one is asked names the process',
        /open files of one\s+process.*pages 4711 815\).*cannot change anything/s.test(asked),
        asked,
      );
      t.equal('the broker’s own refusals', await brokersOwn(t), [2, 2, 3, 4, 4]);
      t.equal('pinscope broker remove', (await t.pinscope(['broker', 'remove'])).code, 0);
    },
  },
  {
    name: 'broker by sudo: --grant of snapshot, list, doctor and serve',
    boot: 'zones',
    // Nothing of it depends on the kernel, and it starts the program many times.
    kernels: ['6.12'],
    async run(t) {
      const helper = await t.buffers(...BUFFERS);
      const args = ['snapshot', '--pid', String(helper.pid), '--json'];
      await Polkit.start('ask').then(daemon => daemon.stop());
      allowSudo(1000);
      const missing = await t.pinscope([...args, '--grant'], AS_USER);
      t.ok(
        'not installed: a sentence, exit status 5',
        missing.code === 5 && /pinscope broker install/.test(missing.stderr),
        missing,
      );
      const asUser = await t.pinscope(['broker', 'install'], AS_USER);
      t.equal('installed by the user, by sudo', [asUser.code, asUser.stdout], [0, 'Installed.\n']);
      const { code, stdout } = await t.pinscope([...args, '--grant'], AS_USER);
      t.equal('exit status', code, 0);
      checkPages(t, 'by sudo', JSON.parse(stdout) as Snapshot, helper);
      const list = await t.pinscope(['list', '--grant', '--json'], AS_USER);
      const { hiddenProcesses, processes } = JSON.parse(list.stdout);
      t.equal('no process is hidden', hiddenProcesses, 0);
      t.ok(
        'the list has it',
        processes.some(
          (row: { pid: number; buffers: number }) => row.pid === helper.pid && row.buffers === 2,
        ),
        processes,
      );
      const pages = await t.pinscope([...args, '--grant', 'pages'], AS_USER);
      t.equal('level pages', (JSON.parse(pages.stdout) as Snapshot).resources.length, 2);
      await checkDoctor(t, helper);
      await checkServe(t, helper);
      const removed = await t.pinscope(['broker', 'remove'], AS_USER);
      t.equal('removed by the user, by sudo', [removed.code, removed.stdout], [0, 'Removed.\n']);
    },
  },
];

/** What could not be checked without the grant is checked with it. */
async function checkDoctor(t: CaseContext, helper: Buffers): Promise<void> {
  const args = ['doctor', '--pid', String(helper.pid), '--rule', 'disconnected', '--json'];
  const without = await t.pinscope(args, AS_USER);
  const { notChecked } = JSON.parse(without.stdout) as Snapshot;
  t.equal(
    'doctor without it',
    [without.code, notChecked.map(({ rule }) => rule)],
    [DOCTOR_EXIT.notChecked, ['disconnected']],
  );
  const { code, stdout } = await t.pinscope([...args, '--grant'], AS_USER);
  const judged = JSON.parse(stdout) as Snapshot;
  t.equal('doctor --grant', [code, judged.findings, judged.notChecked], [DOCTOR_EXIT.nothing, [], []]);
}

/** The browser shell's page gets exact pages from the start. */
async function checkServe(t: CaseContext, helper: Buffers): Promise<void> {
  const { url, child } = await startServe(t, ['--grant'], AS_USER);
  const ended = once(child, 'exit');
  const page = new GoodPage(url);
  await once(page.socket, 'open');
  page.call('watch', targetOf(helper.pid));
  const sample = () =>
    page.messages.flatMap(message =>
      message.kind === 'event' && message.event.type === 'sample' ? [message.event.sample] : [],
    )[0];
  await until(() => sample() !== undefined);
  const first = sample();
  t.ok('serve --grant: a sample', first !== undefined, page.messages);
  if (first !== undefined) checkPages(t, 'serve --grant', toSnapshot(first), helper);
  page.socket.terminate();
  child.kill('SIGINT');
  t.equal('it ends by a signal', await ended, [0, null]);
}

/** Exit codes for: no arguments, one too many, not by pkexec, no socket, another user's socket. */
async function brokersOwn(t: CaseContext): Promise<number[]> {
  const broker = BROKER_PATH;
  const lines = [
    `SUDO_UID=1000 ${broker}`,
    `SUDO_UID=1000 ${broker} kernel-memory /etc/shadow`,
    `${broker} kernel-memory`,
    `SUDO_UID=1000 ${broker} kernel-memory </dev/null`,
    `SUDO_UID=1000 python3 -c "import socket, subprocess, sys
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sys.exit(subprocess.call(['${broker}', 'kernel-memory'], stdin=b))"`,
  ];
  const codes: number[] = [];
  for (const line of lines)
    codes.push(Number((await t.sh(`set +e; ${line} >/dev/null 2>&1; echo $?`)).trim()));
  return codes;
}
