import { printable } from '../../model/text.ts';

/** `2026-11-23 09:24:45.269 UTC` of an ISO 8601 time in UTC; what has another form is shown as it is. */
export function timeText(iso: string): string {
  const parts = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d(?:\.\d+)?)Z$/.exec(iso);
  return parts ? `${parts[1]} ${parts[2]} UTC` : printable(iso);
}

/** The same to the second. */
export const secondText = (iso: string): string => timeText(iso).replace(/\.\d+(?= UTC$)/, '');
