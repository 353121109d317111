import { printable } from '../../model/text.ts';

interface Named {
  readonly pid: number;
  readonly comm: string;
  readonly name: string | null;
}

/** `fedora`, or the name of the program: what one calls a process by. */
export const processName = ({ name, comm }: Named): string => printable(name ?? comm);

/** `user dev`, `uid 1000`, `unknown user`. */
export function userText(user: string | null, uid: number | null): string {
  if (user !== null) return printable(user);
  return uid === null || uid < 0 ? 'unknown user' : `uid ${uid}`;
}
