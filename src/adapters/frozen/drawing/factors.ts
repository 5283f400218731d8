import { Mt19937 } from "../../../compute/random/mt19937.ts";
import type { FloatGrid, GeneratorName } from "../../../compute/random/names.ts";
import { philoxFill, philoxStream, type PhiloxStream } from "../../../compute/random/philox.ts";
import { kaimingUniformBound, singleUniform } from "../../../compute/random/uniform.ts";
import { roundToGrid, toHalfBits } from "../../../compute/random/grid.ts";
import { type Bases, type BasesHead, checkDrawn, type Steps } from "./bases.ts";
import { type DenseDraw, drawStretch, RoundedDraw, SingleDraw } from "./dense-draw.ts";
import { eachRow, type SavedProjection, survey } from "./saved.ts";
import { type BasisMatrix, paddedStride } from "../../../compute/device/matrix-storage.ts";

/** What draws factors: PEFT's way, and ours, which stores nothing. */
export const FACTOR_GENERATORS = ["torch-mt19937-f32", "philox-v1"] as const satisfies readonly GeneratorName[];
export type FactorGenerator = (typeof FACTOR_GENERATORS)[number];

export function drawsFactors(generator: GeneratorName): generator is FactorGenerator {
  return FACTOR_GENERATORS.some((name) => name === generator);
}

/**
 * What determines every element of two random factors A (r, maxIn) and B (maxOut, r), drawn as VeRA has them (Kopiczko et
 * al., arXiv:2310.11454) and normalized by nothing.
 */
export interface FactorsSpec {
  readonly generator: FactorGenerator;
  /** `projection_prng_key`; −2^63 ≤ key < 2^64. */
  readonly key: bigint;
  readonly r: number;
  readonly maxIn: number;
  readonly maxOut: number;
  /** The grid that elements are rounded to: PEFT casts them to the base weights' dtype. */
  readonly grid: FloatGrid;
}

/** How much of them is needed: the most inputs and outputs of a layer. */
export interface FactorsExtent {
  readonly in: number;
  readonly out: number;
}

/** Elements that are drawn before they are written across: they fit the second-level cache. */
const STAGE = 1 << 16;

/**
 * Draws both factors as PEFT does (tuners/vera/model.py, `_kaiming_init`): A, then B, row-major, in f32, by one MT19937. They
 * are held once, as bases of ΔWᵀ = Aᵀ·diag(λ_d)·Bᵀ·diag(λ_b): `b` is Aᵀ (in, r), `a` is Bᵀ (r, out). philox-v1 counts
 * through those, row by row, and stores nothing.
 * @throws RandloraError `adapter` for a shape that is too large
 */
export function* drawFactors(spec: FactorsSpec, extent: FactorsExtent): Steps<Bases> {
  const { generator: name, key, r, maxIn, maxOut } = spec;
  checkDrawn(r, Math.max(maxIn, maxOut));
  if (name === "philox-v1") {
    const matrix = (which: "a" | "b", rows: number, cols: number, pitch: number): BasisMatrix => {
      const storage = { kind: "philox", ...streamOf(spec, which), pitch } as const;
      return { rows, cols, stride: paddedStride(cols), storage };
    };
    return basesOf(matrix("b", r, extent.out, maxOut), matrix("a", extent.in, r, r));
  }
  const generator = new Mt19937(key);
  const b = yield* drawPart(spec, generator, { rows: r, cols: maxIn, kept: extent.in });
  const a = yield* drawPart(spec, generator, { rows: extent.out, cols: r, kept: r });
  return basesOf(a, b);
}

/** The first `count` final elements of A and B, in the order of drawing. @throws RandloraError as `drawFactors` */
export function drawFactorHeads(spec: FactorsSpec, count: number): BasesHead {
  const { key, r, maxIn, maxOut, grid } = spec;
  checkDrawn(r, Math.max(maxIn, maxOut));
  if (spec.generator === "philox-v1") {
    const drawn = (which: "a" | "b", elements: number) => {
      const values = new Float32Array(Math.min(count, elements));
      philoxFill(streamOf(spec, which), 0, values);
      return values;
    };
    return { a: drawn("a", r * maxIn), b: drawn("b", maxOut * r) };
  }
  const generator = new Mt19937(key);
  const head = (rows: number, cols: number): Float32Array<ArrayBuffer> => {
    const taken = Math.min(count, rows * cols);
    const draws = new Uint32Array(taken);
    generator.draw(draws);
    generator.skip(rows * cols - taken);
    const values = new Float32Array(taken);
    singleUniform(kaimingUniformBound(cols, 0)).map(draws, taken, values, 0);
    return values.map((value) => roundToGrid(value, grid));
  };
  return { a: head(r, maxIn), b: head(maxOut, r) };
}

/**
 * The stream of A or B: elements of standard deviation 1 times the power of two that is nearest to Kaiming's √(2 / fan-in),
 * so that they stay on their grid, and size and sum may be multiplied in any order.
 */
function streamOf({ key, r, maxIn, grid }: FactorsSpec, which: "a" | "b"): PhiloxStream {
  // Kernels draw a product's left matrix, which is Aᵀ, from stream 1.
  const [stream, fan] = which === "a" ? [1 as const, maxIn] : [0 as const, r];
  return { ...philoxStream(key, stream, "dense", fan, grid), scale: 2 ** Math.round(Math.log2(2 / fan) / 2) };
}

/** Elements that are drawn row by row, and how many of each row are kept. */
interface Drawn {
  readonly rows: number;
  readonly cols: number;
  readonly kept: number;
}

/** The transpose of what is kept. */
function drawPart({ grid }: FactorsSpec, generator: Mt19937, drawn: Drawn): Steps<BasisMatrix> {
  const bound = kaimingUniformBound(drawn.cols, 0);
  return grid === "f32"
    ? drawTransposed(new SingleDraw(bound), generator, drawn)
    : drawTransposed(new RoundedDraw(bound, grid), generator, drawn);
}

function* drawTransposed<Elements>(
  draw: DenseDraw<Elements>,
  generator: Mt19937,
  { rows, cols, kept }: Drawn,
): Steps<BasisMatrix> {
  const stride = paddedStride(rows);
  const final = draw.allocate(kept * stride);
  const group = Math.max(1, Math.min(rows, Math.floor(STAGE / kept)));
  const staged = draw.allocate(group * kept);
  // Nothing is normalized: a quotient by 1 is the number itself.
  const stretch = (count: number, from: number): Steps<void> =>
    drawStretch(generator, count, (draws, n, at) => draw.finish(draws, n, 1, staged, from + at));
  for (let first = 0; first < rows; first += group) {
    const groups = Math.min(group, rows - first);
    if (kept === cols) yield* stretch(groups * cols, 0);
    else {
      for (let row = 0; row < groups; row++) {
        yield* stretch(kept, row * kept);
        generator.skip(cols - kept);
      }
    }
    draw.spread(staged, { rows: kept, groups, length: 1, rowStep: 1, groupStep: kept, stride, at: first }, final);
  }
  return { rows: kept, cols: rows, stride, storage: draw.storage(final) };
}

/**
 * Packs the factors that an adapter file carries, A (r, maxIn) and B (maxOut, r), as {@link drawFactors} holds drawn ones:
 * in 16 bits where every element allows it, else in f32.
 * @throws RandloraError `numeric` for NaN or infinity, `format`; the signal's reason when it is aborted
 */
export async function savedFactors(
  a: SavedProjection,
  b: SavedProjection,
  extent: FactorsExtent,
  signal?: AbortSignal,
): Promise<Bases> {
  const [kept, rows] = [extent.in, extent.out];
  const seen = [await survey(a, a.rows, kept, signal), await survey(b, rows, b.cols, signal)];
  const kind = seen.every(({ bf16 }) => bf16) ? "bf16" : seen.every(({ f16 }) => f16) ? "f16" : "f32";
  const pack = (saved: SavedProjection, part: { readonly rows: number; readonly kept: number }) =>
    packTransposed(saved, part, kind, signal);
  return basesOf(await pack(b, { rows, kept: b.cols }), await pack(a, { rows: a.rows, kept }));
}

async function packTransposed(
  saved: SavedProjection,
  { rows, kept }: { readonly rows: number; readonly kept: number },
  kind: FloatGrid,
  signal: AbortSignal | undefined,
): Promise<BasisMatrix> {
  const stride = paddedStride(rows);
  const across = (write: (at: number, value: number) => void) =>
    eachRow(
      saved,
      rows,
      kept,
      (values, row) => values.forEach((value, col) => write(col * stride + row, value)),
      signal,
    );
  const shape = { rows: kept, cols: rows, stride };
  if (kind === "f32") {
    const data = new Float32Array(kept * stride);
    await across((at, value) => (data[at] = value));
    return { ...shape, storage: { kind, data } };
  }
  const data = new Uint16Array(kept * stride);
  await across((at, value) => (data[at] = toHalfBits(value, kind)));
  return { ...shape, storage: { kind, data } };
}

/** B̂ (in, r) and A (r, out) as one base. */
function basesOf(a: BasisMatrix, b: BasisMatrix): Bases {
  return { r: a.rows, extent: { rows: b.rows, bases: 1, cols: a.cols }, a, b, stdA: null, stdB: null };
}
