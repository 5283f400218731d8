import { RandloraError } from "../../../files/errors.ts";
import { roundToGrid } from "../../../compute/random/grid.ts";
import { Mt19937 } from "../../../compute/random/mt19937.ts";
import { countTernary, packTernary, ternaryCuts, type TernaryCuts } from "../../../compute/random/ternary.ts";
import { basesCount, type BasesExtent, type BasesHead, type BasesSpec, type DrawnPair, type Steps } from "./bases.ts";
import type { StdPair } from "../../files/std-cache.ts";
import { paddedStride, type BasisMatrix } from "../../../compute/device/matrix-storage.ts";

/** Rows that are drawn between two steps. */
const ROWS_A_STEP = 64;

/** A whole ternary matrix as it is drawn: row-major, `pitch` draws a row. */
interface Drawn {
  readonly rows: number;
  readonly pitch: number;
}

/** The part of it that is kept. */
interface Kept {
  readonly rows: number;
  readonly cols: number;
}

/** f32 standard deviation (n − 1) of `elements` numbers of which `plus` are +1, `minus` are −1 and the others 0. */
function ternaryStd(elements: number, plus: number, minus: number): number {
  const mean = (plus - minus) / elements;
  return Math.fround(Math.sqrt((plus + minus - elements * mean * mean) / (elements - 1)));
}

/** The f32 size of a nonzero element: 1/std, then the grid of the base weights. */
function ternaryScale(std: number, spec: BasesSpec): number {
  return roundToGrid(1 / std, spec.grid);
}

/** Draws a matrix, packs the part that is kept, and counts all of it when the std is not known. */
function* drawMatrix(
  generator: Mt19937,
  cuts: TernaryCuts,
  drawn: Drawn,
  kept: Kept,
  spec: BasesSpec,
  known: number | null,
): Steps<{ matrix: BasisMatrix; std: number }> {
  const stride = paddedStride(kept.cols, "ternary");
  const data = new Uint32Array((kept.rows * stride) / 16);
  const draws = new Uint32Array(drawn.pitch);
  const taken = known === null ? drawn.pitch : kept.cols;
  let plus = 0;
  let minus = 0;
  for (let row = 0; row < drawn.rows; row++) {
    // Only the last matrix is kept in part.
    if (known !== null && row >= kept.rows) break;
    if (row % ROWS_A_STEP === 0) yield;
    generator.draw(draws, 0, taken);
    if (row < kept.rows) packTernary(draws, 0, kept.cols, cuts, data, row * stride);
    if (known === null) {
      const counts = countTernary(draws, drawn.pitch, cuts);
      plus += counts.plus;
      minus += counts.minus;
    } else {
      generator.skip(drawn.pitch - taken);
    }
  }
  const std = known ?? ternaryStd(drawn.rows * drawn.pitch, plus, minus);
  return { matrix: { ...kept, stride, storage: { kind: "ternary", data, scale: ternaryScale(std, spec) } }, std };
}

function cutsOf(spec: BasesSpec): TernaryCuts {
  if (spec.sparsity === "dense") {
    throw new RandloraError("adapter", `${spec.generator} draws sparse bases, but the adapter asks for dense ones`);
  }
  return ternaryCuts(spec.sparsity, spec.min);
}

/**
 * PEFT's sparse and very sparse bases: A (r, min), then B (max, ⌈min/r⌉·r), both row-major, divided by their f32
 * standard deviations (`known`, or counted by drawing everything). The same in every torch version.
 */
export function* drawTernary(spec: BasesSpec, extent: BasesExtent, known: StdPair | null): Steps<DrawnPair> {
  const { r, min, max } = spec;
  const cuts = cutsOf(spec);
  const generator = new Mt19937(spec.key);
  const drawnB = { rows: max, pitch: basesCount(min, r) * r };
  const keptA = { rows: r, cols: extent.cols };
  const a = yield* drawMatrix(generator, cuts, { rows: r, pitch: min }, keptA, spec, known?.a ?? null);
  const keptB = { rows: extent.rows, cols: extent.bases * r };
  const b = yield* drawMatrix(generator, cuts, drawnB, keptB, spec, known?.b ?? null);
  return { a: a.matrix, b: b.matrix, stds: { a: a.std, b: b.std } };
}

/** The first `count` final elements of ternary A and B, in the order of drawing. */
export function drawTernaryHead(spec: BasesSpec, count: number, stds: StdPair): BasesHead {
  const cuts = cutsOf(spec);
  const generator = new Mt19937(spec.key);
  const head = (elements: number, std: number): Float32Array<ArrayBuffer> => {
    const draws = new Uint32Array(Math.min(count, elements));
    generator.draw(draws);
    generator.skip(elements - draws.length);
    const scale = ternaryScale(std, spec);
    return Float32Array.from(draws, (draw) => {
      const u = draw & 0xffffff;
      return u < cuts.low ? -scale : u > cuts.high ? scale : 0;
    });
  };
  const a = head(spec.r * spec.min, stds.a);
  return { a, b: head(Math.min(count, spec.max * basesCount(spec.min, spec.r) * spec.r), stds.b) };
}
