/** Rows of text as aligned columns: the first to the left, all others to the right. */
export function formatTable(head: string[], rows: string[][]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  const line = (row: string[]): string =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  ");
  return all.map((row) => `${line(row).trimEnd()}\n`).join("");
}

/** A share of `total` in a form in which one in a million can still be told from none. */
export function share(count: number, total: number): string {
  return count === 0 ? "0" : `${((100 * count) / total).toPrecision(2)} %`;
}
