// What the gradients of the gated delta rule are made of: products of matrices in scratch, and rows times factors.
import { GATED_DELTA_GRADIENT, MOST_CHUNK, MOST_SIZE } from "../../families/gated-delta.ts";
import { wordsOf } from "../../parameters.ts";
import type { Caller, ParameterWords } from "../caller.ts";
import { bitsOf } from "../routines/functions.ts";
import { LINE, ROW_PITCH } from "../routines/layout.ts";
import { panelOfRows } from "./attention-panels.ts";
import { numbersOf } from "./delta-gates.ts";
import { fours, multiplyTiles, PLAIN, storeSums } from "./tiles.ts";

export const AT = wordsOf(GATED_DELTA_GRADIENT);

/** Numbers from row to row of a matrix of a token each, and bytes of such a matrix. */
export const PITCH = ROW_PITCH / 4;
const MATRIX = MOST_CHUNK * ROW_PITCH;

/** A matrix in the heap, whose rows are so many bytes apart. */
export interface Place {
  readonly at: number;
  readonly pitch: number;
}

/** How a product is made and where it goes. */
interface Way {
  /** x has the terms as rows. */
  readonly turned?: boolean;
  /** b has the terms as columns. */
  readonly byRows?: boolean;
  readonly scale?: number;
  readonly add?: boolean;
}

/** Factors of a chunk's rows: β; g; −g; what of each is left behind the last token; all 1, all 0; what is left of the state behind it. */
export const FACTOR = { beta: 0, before: 1, minusBefore: 2, behind: 3, one: 4, none: 5, all: 6 } as const;
type Factor = (typeof FACTOR)[keyof typeof FACTOR];

/** A key head's tokens, chunk by chunk. */
export class Chunks {
  readonly on: Caller;
  readonly parameters: number;
  readonly word: ParameterWords;
  readonly numbers: Float32Array;
  readonly keySize: number;
  readonly valueSize: number;
  readonly heads: number;
  readonly scale: number;
  readonly #panel: number;
  readonly #sums: number;
  readonly #factors: number;
  /** The gradient by the state behind a chunk. */
  readonly slope: Place;
  /** Room for what `deltaGate` gives. */
  readonly gate: number;
  /** Matrices of a row for each token; those of pairs of tokens lie side by side in one. */
  readonly places: readonly number[];

  constructor(on: Caller, parameters: number) {
    this.on = on;
    this.parameters = parameters;
    this.word = on.reader(parameters, AT.count);
    this.numbers = numbersOf(on);
    this.keySize = this.word(AT.keySize);
    this.valueSize = this.word(AT.valueSize);
    this.heads = this.word(AT.heads);
    this.scale = 1 / Math.sqrt(this.keySize);
    const panelBytes = MOST_SIZE * on.code.panelCols * 4;
    this.#panel = on.scratch;
    this.#sums = this.#panel + panelBytes;
    this.#factors = this.#sums + panelBytes;
    this.slope = { at: this.#factors + Object.keys(FACTOR).length * MOST_CHUNK * 4, pitch: this.keySize * 4 };
    this.gate = this.slope.at + MOST_SIZE * MOST_SIZE * 4;
    const first = this.gate + LINE;
    this.places = Array.from({ length: 10 }, (_, at) => first + at * MATRIX);
  }

  /** to (rows, cols) = scale · x b (+ to), where x (rows, terms) lies in scratch. */
  product(
    x: number,
    rows: number,
    terms: number,
    b: Place,
    cols: number,
    to: Place,
    { turned = false, byRows = false, scale = 1, add = false }: Way = {},
  ): void {
    const { on } = this;
    const { panelCols } = on.code;
    for (let col = 0; col < cols; col += panelCols) {
      const width = Math.min(panelCols, cols - col);
      if (byRows) panelOfRows(on, b.at + col * b.pitch, b.pitch, width, terms, this.#panel);
      else on.call(on.routines.copy.F32, b.at + col * 4, b.pitch, terms, fours(width), this.#panel, panelCols * 4);
      multiplyTiles(on, turned ? "rows" : "terms", x, rows, this.#panel, terms, this.#sums, ROW_PITCH);
      const target = { ...PLAIN, y: to.at, yPitch: to.pitch, scale: bitsOf(scale), accumulate: add };
      storeSums(on, this.#sums, panelCols * 4, rows, width, target, 0, col, true);
    }
  }

  /** Rows of `to` = kept · to + added · from, by factors of each row. */
  rescale(from: Place, cols: number, rows: number, to: Place, kept: Factor, added: Factor): void {
    const [of, ofOther] = [this.#factors + kept * MOST_CHUNK * 4, this.#factors + added * MOST_CHUNK * 4];
    this.on.call(this.on.routines.rescale, from.at, from.pitch, fours(cols), rows, to.at, to.pitch, of, ofOther);
  }

  copy(from: Place, cols: number, rows: number, to: Place): void {
    this.on.call(this.on.routines.copy.F32, from.at, from.pitch, rows, fours(cols), to.at, to.pitch);
  }

  /** Sets factors of a chunk's rows. */
  factors(of: Factor, value: (row: number) => number): void {
    const first = this.#factors / 4 + of * MOST_CHUNK;
    for (let row = 0; row < MOST_CHUNK; row++) this.numbers[first + row] = value(row);
  }

  /** Of a multiple of four numbers. */
  dot(a: number, b: number, count: number): number {
    const { numbers } = this;
    let [first, second, third, fourth] = [0, 0, 0, 0];
    for (let at = 0; at < count; at += 4) {
      first += (numbers[a + at] ?? 0) * (numbers[b + at] ?? 0);
      second += (numbers[a + at + 1] ?? 0) * (numbers[b + at + 1] ?? 0);
      third += (numbers[a + at + 2] ?? 0) * (numbers[b + at + 2] ?? 0);
      fourth += (numbers[a + at + 3] ?? 0) * (numbers[b + at + 3] ?? 0);
    }
    return first + second + (third + fourth);
  }
}
