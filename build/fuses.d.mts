// Types of fuses.mjs.

export function readFuses(binary: string): Record<string, boolean>;
export function setFuse(binary: string, name: string, on: boolean): void;
