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
import { drawTernary, drawTernaryHead } from "./ternary.ts";
import { type StdCache, type StdPair, userStdCache } from "../../files/std-cache.ts";

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
