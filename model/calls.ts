import type { PrivilegeLevel, TargetId, ToSampler } from './contract.ts';
import { isSessionName, SESSION_PIECE_BYTES } from './recordings.ts';

/**
 * A message of a window as the call that it claims to be; `null` for anything else: what comes over a port was made by a
 * page, so its shape is checked field by field before something is done with it.
 */
export function parseCall(message: unknown): ToSampler | null {
  if (!isRecord(message) || message.kind !== 'call' || !isWhole(message.id)) return null;
  const { id, method, args } = message;
  if (!Array.isArray(args)) return null;
  const call = callOf(id, method, args);
  return call && call.args.length === args.length ? call : null;
}

function callOf(id: number, method: unknown, args: readonly unknown[]): ToSampler | null {
  const [first, second, third] = args;
  switch (method) {
    case 'listProcesses':
    case 'revoke':
      return { kind: 'call', id, method, args: [] };
    case 'watch':
      return first === null || isTarget(first) ? { kind: 'call', id, method, args: [first] } : null;
    case 'listSessions':
      return { kind: 'call', id, method, args: [] };
    case 'record':
      return typeof first === 'boolean' ? { kind: 'call', id, method, args: [first] } : null;
    case 'readSession':
      return typeof first === 'string' &&
        isSessionName(first) &&
        isWhole(second) &&
        isWhole(third) &&
        third <= SESSION_PIECE_BYTES
        ? { kind: 'call', id, method, args: [first, second, third] }
        : null;
    case 'setPaused':
      return typeof first === 'boolean' ? { kind: 'call', id, method, args: [first] } : null;
    case 'grant':
      return isLevel(first) && (second === null || isTarget(second)) && typeof third === 'boolean'
        ? { kind: 'call', id, method, args: [first, second, third] }
        : null;
    default:
      return null;
  }
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isWhole = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** Largest pid of Linux (include/linux/threads.h PID_MAX_LIMIT) is 2^22. */
const isTarget = (value: unknown): value is TargetId =>
  isRecord(value) &&
  Object.keys(value).length === 2 &&
  isWhole(value.pid) &&
  value.pid > 0 &&
  value.pid <= 2 ** 22 &&
  typeof value.startTime === 'string' &&
  /^(0|[1-9]\d{0,19})$/.test(value.startTime);

const isLevel = (value: unknown): value is PrivilegeLevel => value === 'pages' || value === 'kernel-memory';
