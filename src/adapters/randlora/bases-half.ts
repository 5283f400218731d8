import { fromHalfBits, toHalfBits } from "../../random/grid.ts";
import type { FloatGrid } from "../../random/names.ts";
import { halfDtype, halfUniform, type HalfGenerator, type HalfMap } from "../../random/uniform.ts";
import type { DenseDraw, Runs } from "./dense-draw.ts";
import type { HalfStorage } from "./storage.ts";

const PATTERNS = 65536;
const SIGN = 0x8000;

/**
 * Dense 16-bit draws of one matrix. Few patterns occur, so their histogram gives the standard deviation, and a table
 * from pattern to pattern does the division and both roundings.
 */
export class HalfDraw implements DenseDraw<Uint16Array, Uint16Array<ArrayBuffer>> {
  readonly map: HalfMap;
  readonly #drawn: "bf16" | "f16";
  readonly #stored: "bf16" | "f16";
  readonly #largest: number;
  readonly #histogram = new Uint32Array(PATTERNS);
  #table: { readonly std: number; readonly final: Uint16Array } | null = null;

  /** @param bound the draws are uniform in ±bound. */
  constructor(generator: HalfGenerator, bound: number, grid: FloatGrid) {
    this.map = halfUniform(generator, bound);
    this.#drawn = halfDtype(generator);
    this.#largest = toHalfBits(bound, this.#drawn);
    // A value of the drawn dtype needs no wider grid to be exact in f32.
    this.#stored = grid === "f32" ? this.#drawn : grid;
  }

  stage(length: number): Uint16Array {
    return new Uint16Array(length);
  }

  allocate(length: number): Uint16Array<ArrayBuffer> {
    return new Uint16Array(length);
  }

  measure(raw: Uint16Array, from: number, to: number): void {
    count(raw, from, to, this.#histogram);
  }

  std(): number {
    let elements = 0;
    let sum = 0;
    this.#histogram.forEach((times, bits) => {
      if (times === 0) return;
      elements += times;
      sum += times * fromHalfBits(bits, this.#drawn);
    });
    const mean = sum / elements;
    let squares = 0;
    this.#histogram.forEach((times, bits) => {
      if (times !== 0) squares += times * (fromHalfBits(bits, this.#drawn) - mean) ** 2;
    });
    return fromHalfBits(toHalfBits(Math.sqrt(squares / (elements - 1)), this.#drawn), this.#drawn);
  }

  divide(raw: Uint16Array, from: number, to: number, std: number): void {
    replace(raw, from, to, this.#finalPatterns(std));
  }

  spread(raw: Uint16Array, runs: Runs, final: Uint16Array): void {
    const { rows, groups, length, rowStep, groupStep, stride, at } = runs;
    for (let row = 0; row < rows; row++)
      copyRow(raw, row * rowStep, groups, groupStep, length, final, at + row * stride);
  }

  divideLater(final: Uint16Array, std: number): void {
    replace(final, 0, final.length, this.#finalPatterns(std));
  }

  storage(final: Uint16Array<ArrayBuffer>): HalfStorage {
    return { kind: this.#stored, data: final };
  }

  singles(raw: Uint16Array): Float32Array<ArrayBuffer> {
    return Float32Array.from(raw, (bits) => fromHalfBits(bits, this.#stored));
  }

  #finalPatterns(std: number): Uint16Array {
    if (this.#table?.std !== std) this.#table = { std, final: this.#divisionTable(std) };
    return this.#table.final;
  }

  #divisionTable(std: number): Uint16Array {
    const final = new Uint16Array(PATTERNS);
    // Rounding is symmetric, and no draw is larger than the bound.
    for (let bits = 0; bits <= this.#largest; bits++) {
      const quotient = fromHalfBits(toHalfBits(fromHalfBits(bits, this.#drawn) / std, this.#drawn), this.#drawn);
      const pattern = toHalfBits(quotient, this.#stored);
      final[bits] = pattern;
      final[bits | SIGN] = pattern | SIGN;
    }
    return final;
  }
}

// Bare loops in functions of their own: JavaScriptCore compiles those best.
function count(raw: Uint16Array, from: number, to: number, histogram: Uint32Array): void {
  for (let i = from; i < to; i++) {
    const bits = raw[i] as number;
    histogram[bits] = (histogram[bits] as number) + 1;
  }
}

function replace(raw: Uint16Array, from: number, to: number, table: Uint16Array): void {
  for (let i = from; i < to; i++) raw[i] = table[raw[i] as number] as number;
}

function copyRow(
  raw: Uint16Array,
  from: number,
  groups: number,
  groupStep: number,
  length: number,
  final: Uint16Array,
  at: number,
): void {
  let to = at;
  for (let group = 0; group < groups; group++) {
    const start = from + group * groupStep;
    for (let i = 0; i < length; i++) final[to + i] = raw[start + i] as number;
    to += length;
  }
}
