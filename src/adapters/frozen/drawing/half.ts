import { fromHalfBits, toHalfBits } from "../../../compute/random/grid.ts";
import type { FloatGrid } from "../../../compute/random/names.ts";
import { halfDtype, halfUniform, type HalfGenerator, type HalfMap } from "../../../compute/random/uniform.ts";
import { type Deferred, type DenseDraw, DRAWS_AT_ONCE, Halves } from "./dense-draw.ts";

const PATTERNS = 65536;
const SIGN = 0x8000;
const portion = new Uint16Array(DRAWS_AT_ONCE);

/**
 * Dense 16-bit draws of one matrix. Few patterns occur, so their histogram gives the standard deviation, and a table
 * from pattern to pattern does the division and both roundings.
 */
export class HalfDraw extends Halves implements DenseDraw<Uint16Array<ArrayBuffer>> {
  readonly deferred: Deferred<Uint16Array<ArrayBuffer>>;
  readonly #map: HalfMap;
  readonly #drawn: "bf16" | "f16";
  readonly #largest: number;
  readonly #histogram = new Uint32Array(PATTERNS);
  #table: { readonly std: number; readonly final: Uint16Array } | null = null;

  /** @param bound the draws are uniform in ±bound. */
  constructor(generator: HalfGenerator, bound: number, grid: FloatGrid) {
    const drawn = halfDtype(generator);
    // A value of the drawn dtype needs no wider grid to be exact in f32.
    super(grid === "f32" ? drawn : grid);
    this.#map = halfUniform(generator, bound);
    this.#drawn = drawn;
    this.#largest = toHalfBits(bound, drawn);
    this.deferred = {
      keep: (draws, count, out, at) => {
        this.#map(draws, count, out, at);
        addUp(out, at, at + count, this.#histogram);
      },
      divide: (elements, std) => replace(elements, 0, elements.length, this.#finalPatterns(std)),
    };
  }

  measure(draws: Uint32Array, count: number): void {
    this.deferred.keep(draws, count, portion, 0);
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

  finish(draws: Uint32Array, count: number, std: number, out: Uint16Array, at: number): void {
    this.#map(draws, count, out, at);
    replace(out, at, at + count, this.#finalPatterns(std));
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
      const pattern = toHalfBits(quotient, this.grid);
      final[bits] = pattern;
      final[bits | SIGN] = pattern | SIGN;
    }
    return final;
  }
}

// Bare loops in functions of their own: JavaScriptCore compiles those best.
function addUp(raw: Uint16Array, from: number, to: number, histogram: Uint32Array): void {
  for (let i = from; i < to; i++) {
    const bits = raw[i] as number;
    histogram[bits] = (histogram[bits] as number) + 1;
  }
}

function replace(raw: Uint16Array, from: number, to: number, table: Uint16Array): void {
  for (let i = from; i < to; i++) raw[i] = table[raw[i] as number] as number;
}
