import type { Mt19937 } from "../../../compute/random/mt19937.ts";
import type { Steps } from "./bases.ts";
import type { BasisStorage, HalfStorage } from "../../../compute/device/matrix-storage.ts";
import { fromHalfBits } from "../../../compute/random/grid.ts";

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
