// Types of fuses.mjs.

export function readFuses(binary: string): Record<string, boolean>;
export function setFuses(binary: string, wanted: Readonly<Record<string, boolean>>): void;
