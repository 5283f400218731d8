/**
 * A small terminal for tests: it carries out what the line editor writes (printing with wrap at the right edge, CR, LF,
 * cursor up and right, clearing) and shows what a person would see. Lines that scroll out at the top are kept.
 */
export class VirtualScreen {
  readonly columns: number;
  readonly #lines: string[][] = [[]];
  #row = 0;
  #column = 0;

  constructor(columns: number) {
    this.columns = columns;
  }

  write(text: string): void {
    // oxlint-disable-next-line no-control-regex -- escape sequences begin with one
    for (const [part] of text.matchAll(/\x1b\[[0-?]*[ -/]*[@-~]|[\r\n]|[^\x1b\r\n]+/g)) {
      if (part === "\r") this.#column = 0;
      else if (part === "\n") this.#row++;
      else if (part.startsWith("\x1b")) this.#control(part);
      else for (const { segment } of new Intl.Segmenter().segment(part)) this.#print(segment);
      while (this.#lines.length <= this.#row) this.#lines.push([]);
    }
  }

  /** Every line without trailing space. */
  get lines(): string[] {
    return this.#lines.map((cells) =>
      Array.from(cells, (cell = " ") => cell)
        .join("")
        .trimEnd(),
    );
  }

  get cursor(): { row: number; column: number } {
    return { row: this.#row, column: this.#column };
  }

  #print(segment: string): void {
    const width = Bun.stringWidth(segment);
    // The wrap at the edge is pending until something is printed beyond it, as in xterm.
    if (this.#column + width > this.columns) {
      this.#row++;
      this.#column = 0;
    }
    while (this.#lines.length <= this.#row) this.#lines.push([]);
    const line = this.#lines[this.#row];
    if (line === undefined) return;
    line[this.#column] = segment;
    // The second half of a wide character shows nothing of its own.
    for (let more = 1; more < width; more++) line[this.#column + more] = "";
    this.#column += width;
  }

  #control(sequence: string): void {
    const count = Number.parseInt(sequence.slice(2), 10) || 1;
    const final = sequence.at(-1);
    if (final === "A") this.#row = Math.max(0, this.#row - count);
    else if (final === "C") this.#column = Math.min(this.columns - 1, this.#column + count);
    else if (final === "J") {
      this.#lines.length = this.#row + 1;
      this.#lines[this.#row]?.splice(this.#column);
    }
  }
}
