/** Dots of a braille character, column by column, top to bottom: bits of the code point behind U+2800. */
const DOTS = [
  [0x01, 0x02, 0x04, 0x40],
  [0x08, 0x10, 0x20, 0x80],
] as const;

/** A drawing in braille dots. */
export class Canvas {
  readonly #columns: number;
  readonly #cells: Uint8Array;
  /** Of each cell, the curve that came last. */
  readonly #curves: Uint16Array;

  constructor(columns: number, rows: number) {
    this.#columns = columns;
    this.#cells = new Uint8Array(columns * rows);
    this.#curves = new Uint16Array(columns * rows);
  }

  /** Sets the dots between two points of a curve, ends included. */
  line([x, y]: readonly [number, number], [endX, endY]: readonly [number, number], curve = 0): void {
    const steps = Math.max(Math.abs(endX - x), Math.abs(endY - y), 1);
    for (let i = 0; i <= steps; i++) {
      this.#set(Math.round(x + ((endX - x) * i) / steps), Math.round(y + ((endY - y) * i) / steps), curve);
    }
  }

  /** The character with a place's dots; a blank for none. */
  at(column: number, row: number): string {
    const dots = this.#cells[row * this.#columns + column] ?? 0;
    return dots === 0 ? " " : String.fromCodePoint(0x2800 + dots);
  }

  /** The number of the curve that came last to a character. */
  lastAt(column: number, row: number): number {
    return this.#curves[row * this.#columns + column] ?? 0;
  }

  #set(x: number, y: number, curve: number): void {
    const at = (y >> 2) * this.#columns + (x >> 1);
    this.#cells[at] = (this.#cells[at] ?? 0) | (DOTS[x & 1]?.[y & 3] ?? 0);
    this.#curves[at] = curve;
  }
}

/** Labels below their columns; one that would touch the one before it is left out. */
export function columnLabels(labels: readonly (readonly [column: number, text: string])[], width: number): string {
  let line = "";
  for (const [column, text] of labels) {
    const start = Math.min(Math.max(0, column - (text.length >> 1)), width - text.length);
    if (line !== "" && start <= line.length) continue;
    line = line.padEnd(start) + text;
  }
  return line;
}
