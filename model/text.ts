/**
 * Control characters, format characters (bidi overrides and isolates, zero-width and tag characters), line and
 * paragraph separators, lone surrogates, and everything else that draws nothing. Backslash, so that `\n` of the
 * output always means a newline of the input.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\\]/gu;
const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\\': '\\\\' };

/**
 * A name that a process, a dma-buf or QEMU chose, made safe to print: what could move the cursor, reorder or hide text
 * becomes a visible escape (`\n`, `\x1b`, `\u202e`, `\u{e0041}`). The result holds no newline and can be undone.
 */
export function printable(text: string): string {
  return text.replace(UNSAFE, c => {
    const code = c.codePointAt(0) ?? 0;
    const hex = code.toString(16);
    return (
      SHORT[c] ??
      (code < 0x100
        ? `\\x${hex.padStart(2, '0')}`
        : code < 0x10000
          ? `\\u${hex.padStart(4, '0')}`
          : `\\u{${hex}}`)
    );
  });
}
