import type { Finding, Refusal, Snapshot, Target, TargetDevice } from '../snapshot.ts';
import type { SessionEvent } from './line.ts';

/** Values of device properties that say nothing of a machine or its owner: switches, numbers, sizes. */
const PLAIN_VALUE = /^(on|off|yes|no|true|false|auto|0x[0-9a-f]+|\d+[kKMGT]?B?)$/;
/** A path, but for files that every Linux has; with all that follows, because a path may have spaces. */
const PATH = /(?<![\w.~])(?:~|\/(?!proc\/|sys\/|dev\/udmabuf\b|dev\/kvm\b))[^\s'",;:)]*\/?.*$/s;
/** QEMU's own programs are what the snapshot is about; a name of the user's choice is not. */
const QEMU_COMM = /^qemu-(system-[a-z0-9]*|kvm)$/;

/** QEMU's words, without the program, time and guest before them and without a name after them. */
const messageOf = (line: string): string =>
  /(virtio_gpu_(create|remap)_udmabuf: [\w ]+: [\w ]+|open \/dev\/udmabuf: [\w ]+|(cannot enable|need rutabaga)[\w ]+)/.exec(
    line,
  )?.[0] ?? '(message redacted)';
const redacted = ({ line }: Refusal): Pick<Refusal, 'source' | 'line'> => ({
  source: '(path redacted)',
  line: messageOf(line),
});

/**
 * Takes out of snapshots what tells whose machine it was: names of guests, users, processes, buffers and backends, paths, values of
 * device properties, addresses of monitors. The same name gets the same placeholder in all snapshots that one redactor saw.
 * PFNs, addresses, inodes, pids, kernel and device names stay: they are what a session is for. Physical addresses may help somebody who
 * attacks that very machine.
 */
export class Redactor {
  private readonly placeholders = new Map<string, string>();
  private readonly counts = new Map<string, number>();
  /** Finds every name of the map in a text; made anew when one was added. */
  private names: RegExp | null = null;

  snapshot(snapshot: Snapshot): Snapshot {
    const monitor = snapshot.sources.find(({ name, state }) => name === 'qmp' && state !== 'ok');
    // It may name a host, a socket, a path.
    if (monitor !== undefined) this.remember(monitor.detail, 'redacted');
    for (const { source, line } of snapshot.target.refusals ?? []) {
      this.remember(source, '(path redacted)');
      this.remember(line, messageOf(line));
    }
    const target = this.target(snapshot.target);
    const resources = snapshot.resources.map(resource => ({
      ...resource,
      name: this.named('buffer', resource.name),
      holders: resource.holders.map(holder => ({ ...holder, comm: this.comm(holder.comm) })),
    }));
    return {
      ...snapshot,
      target,
      resources,
      findings: snapshot.findings.map(finding => this.finding(finding)),
      notChecked: snapshot.notChecked.map(({ rule, because }) => ({ rule, because: this.text(because) })),
      sources: snapshot.sources.map(source => ({ ...source, detail: this.text(source.detail) })),
    };
  }

  event(event: SessionEvent): SessionEvent {
    const { at, kind, count, detail } = event;
    return { at, kind, count, detail: detail === null ? null : this.text(detail) };
  }

  /** A text of ours, with names and paths taken out. */
  text(text: string): string {
    if (this.names === null) {
      const known = [...this.placeholders.keys()].sort((a, b) => b.length - a.length);
      const escaped = known.map(name => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
      // A name within a longer word is another word.
      this.names = new RegExp(escaped.length > 0 ? `(?<!\\w)(?:${escaped.join('|')})(?!\\w)` : '(?!)', 'g');
    }
    return text
      .replace(this.names, name => this.placeholders.get(name) ?? 'redacted')
      .replace(PATH, '(path redacted)');
  }

  private target(target: Target): Target {
    const name = this.named('vm', target.name);
    const comm = this.comm(target.comm);
    return {
      ...target,
      name,
      comm,
      user: this.named('user', target.user),
      ram: target.ram?.map(backend => ({ ...backend, id: this.named('ram', backend.id) })) ?? null,
      // libvirt and containers name cgroups after their guests.
      ...(target.hugetlbCgroup
        ? { hugetlbCgroup: target.hugetlbCgroup.map(row => ({ ...row, path: '(path redacted)' })) }
        : {}),
      devices:
        target.devices &&
        ({
          virtioGpu: this.devices(target.devices.virtioGpu),
          balloon: this.devices(target.devices.balloon),
          virtioMem: this.devices(target.devices.virtioMem),
          vfio: this.devices(target.devices.vfio),
          vdpa: this.devices(target.devices.vdpa),
        } satisfies Target['devices']),
      ...(target.machineMemory
        ? {
            machineMemory: {
              ...target.machineMemory,
              backend: this.named('ram', target.machineMemory.backend),
            },
          }
        : {}),
      // An address of another machine, or a command.
      ...(target.migration
        ? { migration: { ...target.migration, incoming: this.named('incoming', target.migration.incoming) } }
        : {}),
      ...(target.refusals
        ? { refusals: target.refusals.map((refusal): Refusal => ({ ...refusal, ...redacted(refusal) })) }
        : {}),
    };
  }

  private devices(devices: readonly TargetDevice[]): TargetDevice[] {
    return devices.map(({ id, driver, properties }) => ({
      id: this.named('device', id),
      driver,
      properties: Object.fromEntries(
        Object.entries(properties).map(([key, value]) => [
          key,
          PLAIN_VALUE.test(value) ? value : (this.named('value', value) ?? ''),
        ]),
      ),
    }));
  }

  private finding(finding: Finding): Finding {
    return {
      ...finding,
      title: this.text(finding.title),
      explanation: this.text(finding.explanation),
      remedy: this.text(finding.remedy),
      evidence: finding.evidence.map(({ source, field, value, recheck }) => ({
        source: this.text(source),
        field: this.text(field),
        value: this.text(value),
        recheck: this.text(recheck),
      })),
    };
  }

  private comm(comm: string): string {
    return QEMU_COMM.test(comm) ? comm : (this.named('process', comm) ?? '');
  }

  /** The placeholder of a name; the same for the same name, whatever it names. */
  private named(kind: string, name: string | null): string | null {
    if (name === null || name === '') return name;
    const known = this.placeholders.get(name);
    if (known !== undefined) return known;
    const count = (this.counts.get(kind) ?? 0) + 1;
    this.counts.set(kind, count);
    return this.remember(name, `${kind}-${count}`);
  }

  private remember(original: string, placeholder: string): string {
    if (!this.placeholders.has(original)) {
      this.placeholders.set(original, placeholder);
      this.names = null;
    }
    return placeholder;
  }
}
