import type { Mt19937 } from "../../../compute/random/mt19937.ts";
import type { Steps } from "./bases.ts";
import type { BasisStorage, HalfStorage, SingleStorage } from "../../../compute/device/matrix-storage.ts";
import { fromHalfBits, roundToBf16, roundToF16 } from "../../../compute/random/grid.ts";
import { singleUniform, type SingleUniform } from "../../../compute/random/uniform.ts";

/** The most draws that are handled at a time: they fit the first-level cache with what is made of them. */
export const DRAWS_AT_ONCE = 4096;

/** Draws between two steps. */
const STEP = 1 << 18;

const draws = new Uint32Array(DRAWS_AT_ONCE);

/** Calls `use` with `count` draws, a portion at a time; `at` is the place of the first. Yields now and then. */
export function* drawStretch(
  generator: Mt19937,
  count: number,
  use: (draws: Uint32Array, count: number, at: number) => void,
): Steps<void> {
  for (let step = 0; step < count; step += STEP) {
    const end = Math.min(count, step + STEP);
    for (let at = step; at < end; at += DRAWS_AT_ONCE) {
      const portion = Math.min(DRAWS_AT_ONCE, end - at);
      generator.draw(draws, 0, portion);
      use(draws, portion, at);
    }
    yield;
  }
}

/** Which drawn elements make up rows of the final matrix: in each row, `groups` runs of `length` elements, end to end. */
export interface Runs {
  readonly rows: number;
  readonly groups: number;
  readonly length: number;
  /** Drawn elements from the run of one row to that of the next, and from one group to the next. */
  readonly rowStep: number;
  readonly groupStep: number;
  /** Final elements from row to row, and where the first row's first run goes. */
  readonly stride: number;
  readonly at: number;
}

/** How the elements of one dense matrix are drawn, measured, divided by their standard deviation, and stored. */
export interface DenseDraw<Elements> {
  /** Zeroed room for elements. */
  allocate(length: number): Elements;
  /** Adds `count` draws, at most `DRAWS_AT_ONCE` here and below, to the statistics. */
  measure(draws: Uint32Array, count: number): void;
  /** The standard deviation (n − 1) of everything measured, in the drawn dtype. */
  std(): number;
  /** Turns `count` draws into final elements at `out[at..]`. */
  finish(draws: Uint32Array, count: number, std: number, out: Elements, at: number): void;
  /** Absent where elements that are not divided yet need more room than final ones: then the std must come first. */
  readonly deferred: Deferred<Elements> | undefined;
  /** Copies drawn elements row by row. */
  spread(drawn: Elements, runs: Runs, final: Elements): void;
  storage(final: Elements): BasisStorage;
  /** Final elements, widened. */
  singles(final: Elements): Float32Array<ArrayBuffer>;
}

/** Division after everything was stored, which spares a second pass of drawing. */
export interface Deferred<Elements> {
  /** Turns `count` draws into raw elements at `out[at..]` and adds them to the statistics. */
  keep(draws: Uint32Array, count: number, out: Elements, at: number): void;
  /** Makes raw elements final, in place; zeros stay. */
  divide(elements: Elements, std: number): void;
}

/** What draws have in common whose elements have 16 bits. */
export class Halves {
  /** What they are stored as. */
  readonly grid: "bf16" | "f16";

  constructor(grid: "bf16" | "f16") {
    this.grid = grid;
  }

  allocate(length: number): Uint16Array<ArrayBuffer> {
    return new Uint16Array(length);
  }

  spread(drawn: Uint16Array, runs: Runs, final: Uint16Array): void {
    const { rows, rowStep, stride, at } = runs;
    for (let row = 0; row < rows; row++) copyRow(drawn, row * rowStep, runs, final, at + row * stride);
  }

  storage(final: Uint16Array<ArrayBuffer>): HalfStorage {
    return { kind: this.grid, data: final };
  }

  singles(final: Uint16Array): Float32Array<ArrayBuffer> {
    return Float32Array.from(final, (bits) => fromHalfBits(bits, this.grid));
  }
}

// A bare loop, which JavaScriptCore compiles best.
function copyRow(
  drawn: Uint16Array,
  from: number,
  { groups, groupStep, length }: Runs,
  final: Uint16Array,
  at: number,
): void {
  let to = at;
  for (let group = 0; group < groups; group++) {
    const start = from + group * groupStep;
    for (let i = 0; i < length; i++) final[to + i] = drawn[start + i] as number;
    to += length;
  }
}

// Where draws are measured, or divided before they are rounded: it stays in the first-level cache.
const portion = new Float32Array(DRAWS_AT_ONCE);
const portionBits = new Int32Array(portion.buffer);

/** Measures single-precision draws. */
class Measure {
  readonly uniform: SingleUniform;
  readonly #sums = new Sums();

  /** @param bound the draws are uniform in ±bound. */
  constructor(bound: number) {
    this.uniform = singleUniform(bound);
  }

  measure(draws: Uint32Array, count: number): void {
    this.uniform.map(draws, count, portion, 0);
    this.#sums.add(portion, count);
  }

  std(): number {
    return this.#sums.std();
  }
}

/** Dense single-precision draws of one matrix, stored as they are. */
export class SingleDraw extends Measure implements DenseDraw<Float32Array<ArrayBuffer>> {
  readonly deferred: Deferred<Float32Array<ArrayBuffer>>;

  /** @param bound the draws are uniform in ±bound. */
  constructor(bound: number) {
    super(bound);
    this.deferred = {
      keep: (draws, count, out, at) => {
        this.measure(draws, count);
        out.set(count === portion.length ? portion : portion.subarray(0, count), at);
      },
      divide,
    };
  }

  allocate(length: number): Float32Array<ArrayBuffer> {
    return new Float32Array(length);
  }

  finish(draws: Uint32Array, count: number, std: number, out: Float32Array, at: number): void {
    this.uniform.mapAndDivide(draws, count, std, out, at);
  }

  spread(drawn: Float32Array, runs: Runs, final: Float32Array): void {
    const { rows, groups, length, rowStep, groupStep, stride, at } = runs;
    for (let row = 0; row < rows; row++) {
      copySingles(drawn, row * rowStep, groups, groupStep, length, final, at + row * stride);
    }
  }

  storage(final: Float32Array<ArrayBuffer>): SingleStorage {
    return { kind: "f32", data: final };
  }

  singles(final: Float32Array): Float32Array<ArrayBuffer> {
    return Float32Array.from(final);
  }
}

/** Dense single-precision draws of one matrix, rounded to 16 bits once they are divided. */
export class RoundedDraw extends Halves implements DenseDraw<Uint16Array<ArrayBuffer>> {
  /** 16 bits do not hold what is not divided yet. */
  readonly deferred = undefined;
  readonly #measure: Measure;

  /** @param bound the draws are uniform in ±bound. */
  constructor(bound: number, grid: "bf16" | "f16") {
    super(grid);
    this.#measure = new Measure(bound);
  }

  measure(draws: Uint32Array, count: number): void {
    this.#measure.measure(draws, count);
  }

  std(): number {
    return this.#measure.std();
  }

  finish(draws: Uint32Array, count: number, std: number, out: Uint16Array, at: number): void {
    this.#measure.uniform.mapAndDivide(draws, count, std, portion, 0);
    if (this.grid === "bf16") roundToBf16(portionBits, count, out, at);
    else roundToF16(portionBits, count, out, at);
  }
}

/**
 * What the standard deviation of f32 numbers is made of: sums of `DRAWS_AT_ONCE` of them, added up. Where these begin
 * depends on what came before and not on how it was handed over, so neither do the bits of the result.
 */
class Sums {
  #elements = 0;
  #sum = 0;
  #squares = 0;
  /** Sum and sum of squares of those that are not added up yet. */
  readonly #part = new Float64Array(2);

  add(values: Float32Array, count: number): void {
    for (let done = 0; done < count;) {
      const n = Math.min(count - done, DRAWS_AT_ONCE - (this.#elements % DRAWS_AT_ONCE));
      addTo(this.#part, values, done, done + n);
      done += n;
      this.#elements += n;
      if (this.#elements % DRAWS_AT_ONCE === 0) this.#fold();
    }
  }

  /** The mean is near zero by construction, so the one-pass formula in doubles loses nothing that f32 could show. */
  std(): number {
    this.#fold();
    const variance = (this.#squares - this.#sum ** 2 / this.#elements) / (this.#elements - 1);
    return Math.fround(Math.sqrt(variance));
  }

  #fold(): void {
    this.#sum += this.#part[0] as number;
    this.#squares += this.#part[1] as number;
    this.#part.fill(0);
  }
}

// Bare loops in functions of their own: JavaScriptCore compiles those best.
function addTo(part: Float64Array, values: Float32Array, from: number, to: number): void {
  let sum = part[0] as number;
  let squares = part[1] as number;
  for (let i = from; i < to; i++) {
    const value = values[i] as number;
    sum += value;
    squares += value * value;
  }
  part[0] = sum;
  part[1] = squares;
}

function divide(values: Float32Array, std: number): void {
  for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) / std;
}

function copySingles(
  drawn: Float32Array,
  from: number,
  groups: number,
  groupStep: number,
  length: number,
  final: Float32Array,
  at: number,
): void {
  let to = at;
  for (let group = 0; group < groups; group++) {
    const start = from + group * groupStep;
    for (let i = 0; i < length; i++) final[to + i] = drawn[start + i] as number;
    to += length;
  }
}
