import { philoxFill, philoxStream, type PhiloxStream } from "../../../compute/random/philox.ts";
import {
  type Bases,
  basesCount,
  type BasesExtent,
  type BasesHead,
  type BasesSpec,
  checkDrawn,
  type DrawnPair,
  finishSteps,
  stdKey,
  type Steps,
} from "./bases.ts";
import { type BasisMatrix, paddedStride } from "../../../compute/device/matrix-storage.ts";
import { RandloraError } from "../../../files/errors.ts";
import { sha256OfF32 } from "../../../compute/random/sha256.ts";
import { canDraw } from "../../../compute/random/names.ts";
import { drawDense, drawDenseHead } from "./dense.ts";
import { type StdCache, type StdPair, userStdCache } from "../../files/std-cache.ts";
import { roundToGrid } from "../../../compute/random/grid.ts";
import { Mt19937 } from "../../../compute/random/mt19937.ts";
import { countTernary, packTernary, ternaryCuts, type TernaryCuts } from "../../../compute/random/ternary.ts";

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
function* drawTernary(spec: BasesSpec, extent: BasesExtent, known: StdPair | null): Steps<DrawnPair> {
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
function drawTernaryHead(spec: BasesSpec, count: number, stds: StdPair): BasesHead {
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

function streamOf({ key, sparsity, min, grid }: BasesSpec, which: 0 | 1): PhiloxStream {
  return philoxStream(key, which, sparsity, min, grid);
}

/** Bases of philox-v1: nothing is drawn, whatever the grid. */
function drawPhilox(spec: BasesSpec, extent: BasesExtent): { a: BasisMatrix; b: BasisMatrix } {
  const { r, min } = spec;
  const matrix = (which: 0 | 1, rows: number, cols: number, pitch: number): BasisMatrix => {
    return { rows, cols, stride: paddedStride(cols), storage: { kind: "philox", ...streamOf(spec, which), pitch } };
  };
  return {
    a: matrix(0, r, extent.cols, min),
    b: matrix(1, extent.rows, extent.bases * r, basesCount(min, r) * r),
  };
}

/** The first `count` final elements of philox A and B, in PEFT's memory order. */
function drawPhiloxHead(spec: BasesSpec, count: number): BasesHead {
  const head = (which: 0 | 1, elements: number): Float32Array<ArrayBuffer> => {
    const values = new Float32Array(Math.min(count, elements));
    philoxFill(streamOf(spec, which), 0, values);
    return values;
  };
  return { a: head(0, spec.r * spec.min), b: head(1, spec.max * basesCount(spec.min, spec.r) * spec.r) };
}

export type { Bases, BasesExtent, BasesSpec } from "./bases.ts";
export { basesCount } from "./bases.ts";

/** Elements of A and of B that a fingerprint covers, at most (adapter.json, `bases.sha256`). */
const FINGERPRINT_ELEMENTS = 4096;

function checkSpec(spec: BasesSpec): void {
  for (const [name, value] of Object.entries({ r: spec.r, max: spec.max, min: spec.min })) {
    if (!Number.isSafeInteger(value) || value < 1 || value > 2 ** 31) {
      throw new RandloraError("adapter", `random bases need a positive whole ${name}, not ${value}`);
    }
  }
  if (spec.min > spec.max) {
    throw new RandloraError(
      "adapter",
      `the smaller dimension of the bases, ${spec.min}, exceeds the larger, ${spec.max}`,
    );
  }
  checkDrawn(spec.max, basesCount(spec.min, spec.r), spec.r);
  if (!canDraw(spec.generator, spec.sparsity)) {
    throw new RandloraError(
      "adapter",
      `the generator ${spec.generator} does not draw ${spec.sparsity} bases`,
      spec.sparsity === "dense"
        ? "choose one that draws dense bases"
        : "sparse bases are drawn by torch-mt19937-ternary or philox-v1",
    );
  }
}

/** Throws where a layer needs more than the bases hold. */
export function checkExtent(extent: BasesExtent, r: number, max: number, min: number, what = "a layer"): void {
  const { rows, bases, cols } = extent;
  if (rows > max || cols > min || bases > basesCount(min, r)) {
    throw new RandloraError(
      "adapter",
      `${what} of ${rows} × ${cols} with ${bases} bases exceeds the random bases, drawn at ${max} × ${min} with r = ${r}`,
      "the adapter belongs to another model, or its recorded shape is wrong",
    );
  }
}

function drawPair(spec: BasesSpec, extent: BasesExtent, known: StdPair | null): Steps<DrawnPair> {
  if (spec.generator === "torch-mt19937-ternary") return drawTernary(spec, extent, known);
  if (spec.generator === "philox-v1") throw new TypeError("philox-v1 is not normalized");
  return drawDense(spec.generator, spec, extent, known);
}

function* drawAndRemember(spec: BasesSpec, extent: BasesExtent, cache: StdCache): Steps<DrawnPair> {
  const key = stdKey(spec);
  const known = cache.get(key);
  const drawn = yield* drawPair(spec, extent, known);
  const { a, b } = drawn.stds;
  if (!(a > 0 && b > 0)) {
    throw new RandloraError(
      "numeric",
      `random bases drawn at ${spec.max} × ${spec.min} with r = ${spec.r} are all alike and cannot be normalized`,
    );
  }
  if (known === null) cache.set(key, drawn.stds, (spec.max + 1) * basesCount(spec.min, spec.r) * spec.r);
  return drawn;
}

/**
 * Draws bases as far as `extent` needs them. The order of drawing, the arithmetic and both roundings are PEFT's
 * (tuners/randlora/model.py) on PyTorch's CPU generator, bit for bit; philox-v1 stores nothing.
 * Without cached standard deviations the whole stream is drawn once, for they belong to the whole tensors.
 * @throws RandloraError `adapter` for a shape, seed, generator or extent that makes no sense.
 */
export function drawBases(spec: BasesSpec, extent: BasesExtent, cache: StdCache = userStdCache()): Bases {
  return finishSteps(drawSteps(spec, extent, cache));
}

/** The same, which takes seconds for a large model: a step at a time, for those who have to hear a signal meanwhile. */
export function* drawSteps(spec: BasesSpec, extent: BasesExtent, cache: StdCache): Steps<Bases> {
  checkSpec(spec);
  checkExtent(extent, spec.r, spec.max, spec.min);
  if (spec.generator === "philox-v1") {
    return { r: spec.r, extent, ...drawPhilox(spec, extent), stdA: null, stdB: null };
  }
  const { a, b, stds } = yield* drawAndRemember(spec, extent, cache);
  return { r: spec.r, extent, a, b, stdA: stds.a, stdB: stds.b };
}

/** What adapter.json records of drawn bases, so that a redraw that differs is noticed. */
interface BasesFingerprint {
  /** Null where nothing is normalized (philox). */
  readonly stdA: number | null;
  readonly stdB: number | null;
  /** Hexadecimal SHA-256 of the first ≤ 4096 final elements as little-endian f32, in the order of drawing. */
  readonly sha256: { readonly a: string; readonly b: string };
}

const NOTHING: BasesExtent = { rows: 0, bases: 0, cols: 0 };

/** The fingerprint of the bases that `spec` draws. Costs the whole stream when its standard deviations are not cached. */
export function fingerprint(spec: BasesSpec, cache: StdCache = userStdCache()): BasesFingerprint {
  return finishSteps(fingerprintSteps(spec, cache));
}

/** The same, a step at a time. */
export function* fingerprintSteps(spec: BasesSpec, cache: StdCache): Steps<BasesFingerprint> {
  checkSpec(spec);
  let stds: StdPair | null = null;
  let head: BasesHead;
  if (spec.generator === "philox-v1") {
    head = drawPhiloxHead(spec, FINGERPRINT_ELEMENTS);
  } else {
    stds = cache.get(stdKey(spec)) ?? (yield* drawAndRemember(spec, NOTHING, cache)).stds;
    head =
      spec.generator === "torch-mt19937-ternary"
        ? drawTernaryHead(spec, FINGERPRINT_ELEMENTS, stds)
        : drawDenseHead(spec.generator, spec, FINGERPRINT_ELEMENTS, stds);
  }
  return { stdA: stds?.a ?? null, stdB: stds?.b ?? null, sha256: { a: sha256OfF32(head.a), b: sha256OfF32(head.b) } };
}
