import { fromHalfBits, toHalfBits } from "../../../compute/random/grid.ts";
import { Mt19937 } from "../../../compute/random/mt19937.ts";
import type { FloatGrid } from "../../../compute/random/names.ts";
import {
  halfDtype,
  type HalfGenerator,
  type HalfMap,
  halfUniform,
  kaimingUniformBound,
} from "../../../compute/random/uniform.ts";
import {
  RoundedDraw,
  SingleDraw,
  type Deferred,
  type DenseDraw,
  DRAWS_AT_ONCE,
  drawStretch,
  Halves,
} from "./dense-draw.ts";
import {
  basesCount,
  type BasesExtent,
  type BasesHead,
  type BasesSpec,
  type DrawnPair,
  finishSteps,
  type Steps,
} from "./bases.ts";
import type { StdPair } from "../../files/std-cache.ts";
import { type BasisMatrix, paddedStride } from "../../../compute/device/matrix-storage.ts";

/** Elements staged before they are spread over rows; scattering B base by base would miss the TLB at every row. */
const STAGE = 1 << 21;
/** `bases` matrices of rows × cols elements, one after another, row-major: as they are drawn, or what is kept of them. */
interface Stack {
  readonly bases: number;
  readonly rows: number;
  readonly cols: number;
}

interface DrawnMatrix {
  readonly matrix: BasisMatrix;
  readonly std: number;
}

/** Draws a stack and keeps the first `kept` of everything, the bases side by side. */
function* drawMatrix<Elements>(
  draw: DenseDraw<Elements>,
  generator: Mt19937,
  drawn: Stack,
  kept: Stack,
  known: number | null,
): Steps<DrawnMatrix> {
  const measure = (count: number): Steps<void> => drawStretch(generator, count, (draws, n) => draw.measure(draws, n));
  const perBase = drawn.rows * drawn.cols;
  let std = known;
  if (std === null && draw.deferred === undefined) {
    const again = generator.clone();
    yield* drawStretch(again, drawn.bases * perBase, (draws, n) => draw.measure(draws, n));
    std = draw.std();
  }
  const cols = kept.bases * kept.cols;
  const stride = paddedStride(cols);
  const final = draw.allocate(kept.rows * stride);
  const taken = kept.rows * drawn.cols;
  const group = Math.max(1, Math.min(kept.bases, Math.floor(STAGE / Math.max(1, taken))));
  const staged = draw.allocate(group * taken);
  for (let first = 0; first < kept.bases; first += group) {
    const groups = Math.min(group, kept.bases - first);
    for (let g = 0; g < groups; g++) {
      const from = g * taken;
      if (std === null) {
        yield* drawStretch(generator, taken, (draws, n, at) => draw.deferred?.keep(draws, n, staged, from + at));
        yield* measure(perBase - taken);
      } else {
        const divisor = std;
        yield* drawStretch(generator, taken, (draws, n, at) => draw.finish(draws, n, divisor, staged, from + at));
        generator.skip(perBase - taken);
      }
    }
    const runs = { groups, length: kept.cols, rowStep: drawn.cols, groupStep: taken, stride, at: first * kept.cols };
    draw.spread(staged, { rows: kept.rows, ...runs }, final);
  }
  if (std === null) {
    yield* measure((drawn.bases - kept.bases) * perBase);
    std = draw.std();
    draw.deferred?.divide(final, std);
  }
  return { matrix: { rows: kept.rows, cols, stride, storage: draw.storage(final) }, std };
}

/** Makes the way to draw a matrix whose elements are uniform in ±bound. */
type DrawFactory<Elements> = (bound: number) => DenseDraw<Elements>;

function* drawPair<Elements>(
  create: DrawFactory<Elements>,
  { key, r, min, max }: BasesSpec,
  { rows, bases, cols }: BasesExtent,
  known: StdPair | null,
): Steps<DrawnPair> {
  const generator = new Mt19937(key);
  const [allA, keptA] = [
    { bases: 1, rows: r, cols: min },
    { bases: 1, rows: r, cols },
  ];
  const [allB, keptB] = [
    { bases: basesCount(min, r), rows: max, cols: r },
    { bases, rows, cols: r },
  ];
  const a = yield* drawMatrix(create(kaimingUniformBound(min)), generator, allA, keptA, known?.a ?? null);
  const b = yield* drawMatrix(create(kaimingUniformBound(r)), generator, allB, keptB, known?.b ?? null);
  return { a: a.matrix, b: b.matrix, stds: { a: a.std, b: b.std } };
}

function drawHeads<Elements>(
  create: DrawFactory<Elements>,
  { key, r, min, max }: BasesSpec,
  count: number,
  stds: StdPair,
): BasesHead {
  const generator = new Mt19937(key);
  const head = (fan: number, elements: number, std: number): Float32Array<ArrayBuffer> => {
    const draw = create(kaimingUniformBound(fan));
    const taken = Math.min(count, elements);
    const final = draw.allocate(taken);
    finishSteps(drawStretch(generator, taken, (draws, n, at) => draw.finish(draws, n, std, final, at)));
    generator.skip(elements - taken);
    return draw.singles(final);
  };
  const a = head(min, r * min, stds.a);
  return { a, b: head(r, Math.min(count, max * basesCount(min, r) * r), stds.b) };
}

/** The generators of dense bases. */
export type DenseGenerator = HalfGenerator | "torch-mt19937-f32";

/** Hands the way to draw to `use`, which is generic in the elements. */
function withFactory<T>(
  generator: DenseGenerator,
  grid: FloatGrid,
  use: <Elements>(create: DrawFactory<Elements>) => T,
): T {
  if (generator !== "torch-mt19937-f32") return use((bound) => new HalfDraw(generator, bound, grid));
  return grid === "f32" ? use((bound) => new SingleDraw(bound)) : use((bound) => new RoundedDraw(bound, grid));
}

/**
 * Dense bases as PEFT draws them with PyTorch's CPU generator, one draw an element: A, then base after base of B, each
 * divided by the standard deviation of the whole tensor (`known`, or measured by drawing all of it).
 */
export function drawDense(
  generator: DenseGenerator,
  spec: BasesSpec,
  extent: BasesExtent,
  known: StdPair | null,
): Steps<DrawnPair> {
  return withFactory(generator, spec.grid, (create) => drawPair(create, spec, extent, known));
}

/** The first `count` final elements of dense A and B, in the order of drawing. */
export function drawDenseHead(generator: DenseGenerator, spec: BasesSpec, count: number, stds: StdPair): BasesHead {
  return withFactory(generator, spec.grid, (create) => drawHeads(create, spec, count, stds));
}

const PATTERNS = 65536;
const SIGN = 0x8000;
const portion = new Uint16Array(DRAWS_AT_ONCE);

/**
 * Dense 16-bit draws of one matrix. Few patterns occur, so their histogram gives the standard deviation, and a table
 * from pattern to pattern does the division and both roundings.
 */
class HalfDraw extends Halves implements DenseDraw<Uint16Array<ArrayBuffer>> {
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
