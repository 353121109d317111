import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { printable } from '../model/text.ts';
import { CliError, DOCTOR_EXIT, DOCTOR_EXIT_HELP, EXIT, EXIT_HELP } from './exit.ts';
import { VERSION } from './version.ts';

const nonNegative = (text: string): number => {
  const value = Number(text);
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return value;
};
const port = (text: string): number => {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535)
    throw new InvalidArgumentError('It must be from 0 to 65535; 0 is one that is free.');
  return Number(text);
};
const listenAddress = (text: string): string => {
  if (!/^[\w.:-]{1,253}$/.test(text))
    throw new InvalidArgumentError('It must be an address or a name of this machine, without a port.');
  return text;
};
const seconds = (text: string): number => {
  const value = Number(text);
  if (!(value >= 0.1 && value <= 86_400))
    throw new InvalidArgumentError('It must be from 0.1 to 86400 seconds.');
  return value;
};
const duration = (text: string): number => {
  const value = Number(text);
  if (!(value >= 1 && value <= 31_536_000))
    throw new InvalidArgumentError('It must be from 1 to 31536000 seconds.');
  return value;
};
const runCount = (text: string): number => (text === 'all' ? Number.POSITIVE_INFINITY : nonNegative(text));

const watchOption = () =>
  new Option('-w, --watch [seconds]', 'refresh until Ctrl-C').argParser(seconds).preset('1');
const jsonOption = () => new Option('--json', 'print one JSON document (with --watch: one a line)');
const pidOption = () => new Option('-p, --pid <pid>', 'the process').argParser(nonNegative);
const nameOption = () =>
  new Option('-n, --name <name>', 'the process by QEMU’s -name, or by its program name').conflicts('pid');
const runsOption = () =>
  new Option('--runs <count>', 'page runs shown of a dma-buf, or “all”').argParser(runCount).default(12);
const grantOption = () =>
  new Option('-g, --grant [level]', 'ask sudo for rights: to “kernel-memory”, or to “pages” of the process')
    .choices(['kernel-memory', 'pages'])
    .preset('kernel-memory');

const program = new Command('pinscope')
  .description(
    'Shows which host pages each udmabuf of a running QEMU pins, and whether they are still the guest’s.',
  )
  .version(VERSION)
  .helpCommand(false);

program
  .command('list')
  .description('QEMU processes, and all others that hold a udmabuf')
  .addOption(new Option('-g, --grant', 'ask sudo for the rights to see every process'))
  .addOption(jsonOption())
  .addOption(watchOption())
  .action(async options => (await import('./commands.ts')).runList(options));

program
  .command('snapshot')
  .description('every dma-buf of one process, with the pages that it pins')
  .addOption(pidOption())
  .addOption(nameOption())
  .addOption(new Option('-r, --resource <inode>', 'only this dma-buf, in detail').argParser(nonNegative))
  .addOption(
    new Option(
      '-f, --filter <expression>',
      'only dma-bufs that it holds for: “zone == Movable && age > 10s”',
    ).conflicts('resource'),
  )
  .addOption(runsOption())
  .addOption(grantOption())
  .addOption(jsonOption())
  .addOption(watchOption())
  .addHelpText(
    'after',
    `
A dma-buf is named by its inode. Its pages need kernel memory; buffers, sizes, holders and ages do
not. --grant gives it to an ordinary user while the command runs, by the broker: a small program
that opens files and nothing else (pinscope broker --help).
Filters: size >= 8MiB && !(backing == connected); node != 0 or weston; pfn == 0x10000..0x17fff.
Fields are inode, name, exporter, size, pages, holds, folios, pins, refs, age, zone, node,
migratetype, folio, backing, pfn, gpa, ram, holder, pid, device, attached, mapped, resource,
scanout, severity, rule. What was not read decides nothing and is counted. docs/FILTER.md has all.
Addresses and PFNs are hexadecimal; JSON has PFNs as numbers (schema pinscope.snapshot/1).
`,
  )
  .action(async options => (await import('./commands.ts')).runSnapshot(options));

const doctor = program
  .command('doctor')
  .description('what is wrong, with evidence and what to do; the exit status says how bad')
  .addOption(pidOption())
  .addOption(nameOption())
  .addOption(
    new Option('--rule <id>', 'only this rule; may be repeated').argParser((id, before: string[] = []) => [
      ...before,
      id,
    ]),
  )
  .addOption(new Option('--explain <id>', 'what this rule is, and the state of its inputs').conflicts('rule'))
  .addOption(
    new Option('--since <file>', 'compare with a session file of the process, and know its past from it'),
  )
  .addOption(grantOption())
  .addOption(new Option('--json', 'print one JSON document'))
  .addHelpText(
    'after',
    `
Without --pid or --name it is every process of pinscope list; with --since alone the process that
the file is of. A rule that could not look at everything is listed as not checked, with the reason.
docs/HAZARDS.md has a section on each rule.
`,
  )
  .action(async options => (await import('./doctor.ts')).runDoctor(options));

program
  .command('serve')
  .description('the console in a browser: for a machine without a display, over SSH, or as root')
  .addOption(
    new Option('--port <port>', 'listen on this port').argParser(port).default(0, 'one that is free'),
  )
  .addOption(
    new Option('--listen <address>', 'listen on this address of the machine')
      .argParser(listenAddress)
      .default('127.0.0.1'),
  )
  .addOption(new Option('-p, --pid <pid>', 'open on this process').argParser(nonNegative))
  .addOption(grantOption())
  .addHelpText(
    'after',
    `
Prints the address to open, with a token that is new each time. Only this machine reaches it; from
another one, ssh -L PORT:127.0.0.1:PORT HOST forwards the port, with the same number on both sides.
With --listen other machines reach it, and nothing that passes is encrypted.
A page cannot ask for rights; --grant asks sudo here, before the address is printed.
`,
  )
  .action(async options => (await import('./serve.ts')).runServe(options));

program
  .command('record')
  .description('writes samples of one process into a session file, until Ctrl-C')
  .addOption(pidOption())
  .addOption(nameOption())
  .addOption(new Option('-o, --output <file>', 'the file; else one here, called by guest and time'))
  .addOption(new Option('-i, --interval <seconds>', 'from sample to sample').argParser(seconds).default(1))
  .addOption(new Option('-d, --duration <seconds>', 'ends by itself after that time').argParser(duration))
  .addOption(new Option('--redact', 'leave out names of guests, users and processes, and paths'))
  .addOption(new Option('-f, --force', 'write over a file that is there'))
  .addOption(grantOption())
  .addHelpText(
    'after',
    `
Every sample is in the file when it was taken: a recording that is killed is whole to its last
sample. The file is gzip: zcat FILE | jq reads it (docs/SESSION.md). --redact leaves PFNs and
addresses: they may help somebody who attacks that very machine.
`,
  )
  .action(async options => (await import('./record.ts')).runRecord(options));

program
  .command('show')
  .argument('<file>', 'a session file')
  .description('a sample of a session file, or what is in the file')
  .addOption(
    new Option(
      '-a, --at <when>',
      'the sample of that number (“#41”), or the last at that time (ISO 8601, or HH:MM:SS)',
    ),
  )
  .addOption(new Option('-r, --resource <inode>', 'only this dma-buf, in detail').argParser(nonNegative))
  .addOption(runsOption())
  .addOption(new Option('--info', 'from when to when, samples, gaps, events, damage').conflicts('at'))
  .addOption(new Option('--redact', 'write a copy without names and paths; needs --output'))
  .addOption(new Option('-o, --output <file>', 'the copy'))
  .addOption(new Option('-f, --force', 'write over a file that is there'))
  .addOption(new Option('--json', 'print one JSON document'))
  .addHelpText(
    'after',
    `
A damaged file is shown as far as it is whole, and --info says where it stops. Without --at it is
the sample that the file names to be opened at, else the first. Times are UTC.
`,
  )
  .action(async (file, options) => (await import('./show.ts')).runShow(file, options));

program
  .command('sources')
  .description('what can be read on this host, what not, why, and what would grant it')
  .addOption(jsonOption())
  .action(async options => (await import('./commands.ts')).runSources(options));

const broker = program
  .command('broker')
  .description('the program that opens files for --grant and for the window: installed where, and how')
  .helpCommand(false)
  .addHelpText(
    'after',
    `
An ordinary user may not open kernel memory, nor another user's files. The broker may, when sudo
or polkit has asked you each time; what it opens, and for whom: docs/BROKER.md.
`,
  );
broker
  .command('status')
  .description('whether it is installed as this Pinscope has it; exit status 5 if not')
  .addOption(new Option('--json', 'print one JSON document'))
  .action(async options => (await import('./broker.ts')).runBrokerStatus(options));
broker
  .command('install')
  .description('installs it, by sudo; says what and where first')
  .action(async () => (await import('./broker.ts')).runBrokerInstall());
broker
  .command('remove')
  .description('removes all of it, by sudo')
  .action(async () => (await import('./broker.ts')).runBrokerRemove());

program
  .command('start')
  .description('the live list; where nothing uses udmabuf, a recorded snapshot of a real QEMU')
  .action(async () => (await import('./commands.ts')).runStart());

const escaped = (text: string): string => text.split('\n').map(printable).join('\n');
for (const command of [program, ...program.commands, ...broker.commands]) {
  command
    .exitOverride()
    .showHelpAfterError('(--help tells more)')
    .addHelpText('after', command === doctor ? DOCTOR_EXIT_HELP : EXIT_HELP)
    // What the user typed may come from a script that passes names on.
    .configureOutput({ outputError: (text, write) => write(escaped(text)) });
}

// A reader that went away (`| head`) is no failure, nor does it change an answer.
process.stdout.on('error', error => {
  if ('code' in error && error.code === 'EPIPE') process.exit(process.exitCode ?? EXIT.ok);
  throw error;
});

/** Of the doctor every failure means that it could not check: its other codes are answers. */
const failedWith = (code: number): number => (process.argv[2] === 'doctor' ? DOCTOR_EXIT.notChecked : code);

program.parseAsync().catch((error: unknown) => {
  if (error instanceof CommanderError) {
    // Commander has printed its message.
    process.exitCode = error.exitCode === 0 ? EXIT.ok : failedWith(EXIT.usage);
  } else if (error instanceof CliError) {
    const lines = [`pinscope: ${printable(error.message)}`, ...error.below];
    process.stderr.write(`${lines.join('\n')}\n`);
    process.exitCode = failedWith(error.code);
  } else {
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
    process.stderr.write(`pinscope: ${escaped(what)}\n`);
    process.exitCode = failedWith(EXIT.failed);
  }
});
