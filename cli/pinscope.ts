import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { printable } from '../model/text.ts';
import { CliError, EXIT, EXIT_HELP } from './exit.ts';

const nonNegative = (text: string): number => {
  const value = Number(text);
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return value;
};
const seconds = (text: string): number => {
  const value = Number(text);
  if (!(value >= 0.1 && value <= 86_400))
    throw new InvalidArgumentError('It must be from 0.1 to 86400 seconds.');
  return value;
};
const runCount = (text: string): number => (text === 'all' ? Number.POSITIVE_INFINITY : nonNegative(text));

const watchOption = () =>
  new Option('-w, --watch [seconds]', 'refresh until Ctrl-C').argParser(seconds).preset('1');
const jsonOption = () => new Option('--json', 'print one JSON document (with --watch: one a line)');

const program = new Command('pinscope')
  .description(
    'Shows which host pages each udmabuf of a running QEMU pins, and whether they are still the guest’s.',
  )
  .version('0.1.0')
  .helpCommand(false);

program
  .command('list')
  .description('QEMU processes, and all others that hold a udmabuf')
  .addOption(jsonOption())
  .addOption(watchOption())
  .action(async options => (await import('./commands.ts')).runList(options));

program
  .command('snapshot')
  .description('every dma-buf of one process, with the pages that it pins')
  .addOption(new Option('-p, --pid <pid>', 'the process').argParser(nonNegative))
  .addOption(
    new Option('-n, --name <name>', 'the process by QEMU’s -name, or by its program name').conflicts('pid'),
  )
  .addOption(new Option('-r, --resource <inode>', 'only this dma-buf, in detail').argParser(nonNegative))
  .addOption(
    new Option('--runs <count>', 'page runs shown of a dma-buf, or “all”').argParser(runCount).default(12),
  )
  .addOption(jsonOption())
  .addOption(watchOption())
  .addHelpText(
    'after',
    `
A dma-buf is named by its inode. Its pages need kernel memory (root); buffers, sizes, holders and
ages do not.
Addresses and PFNs are hexadecimal; JSON has PFNs as numbers (schema pinscope.snapshot/1).
`,
  )
  .action(async options => (await import('./commands.ts')).runSnapshot(options));

program
  .command('sources')
  .description('what can be read on this host, what not, why, and what would grant it')
  .addOption(jsonOption())
  .action(async options => (await import('./commands.ts')).runSources(options));

program
  .command('start')
  .description('the live list; where nothing uses udmabuf, a recorded snapshot of a real QEMU')
  .action(async () => (await import('./commands.ts')).runStart());

const escaped = (text: string): string => text.split('\n').map(printable).join('\n');
for (const command of [program, ...program.commands]) {
  command
    .exitOverride()
    .showHelpAfterError('(--help tells more)')
    .addHelpText('after', EXIT_HELP)
    // What the user typed may come from a script that passes names on.
    .configureOutput({ outputError: (text, write) => write(escaped(text)) });
}

// A reader that went away (`| head`) is no failure.
process.stdout.on('error', error => {
  if ('code' in error && error.code === 'EPIPE') process.exit(EXIT.ok);
  throw error;
});

program.parseAsync().catch((error: unknown) => {
  if (error instanceof CommanderError) {
    // Commander has printed its message.
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  } else if (error instanceof CliError) {
    process.stderr.write(`pinscope: ${printable(error.message)}\n`);
    process.exitCode = error.code;
  } else {
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
    process.stderr.write(`pinscope: ${escaped(what)}\n`);
    process.exitCode = EXIT.failed;
  }
});
