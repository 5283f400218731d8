/** Breaks a line at blanks into lines of at most so many columns; a longer word (a path) stays whole, on a line of its own. */
export function wrapWords(line: string, columns: number): string[] {
  if (Bun.stringWidth(line) <= columns) return [line];
  return Bun.wrapAnsi(line, columns, { hard: false, wordWrap: true, trim: true }).split("\n");
}
