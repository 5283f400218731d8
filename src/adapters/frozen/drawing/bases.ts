import { RandloraError } from "../../../files/errors.ts";
import type { FloatGrid, GeneratorName, Sparsity } from "../../../compute/random/names.ts";
import { mt19937Seed } from "../../../compute/random/mt19937.ts";
import type { StdPair } from "../../files/std-cache.ts";
import type { BasisMatrix } from "../../../compute/device/matrix-storage.ts";

/** What determines every element of a pair of bases A (r, 1, min) and B (max, ⌈min/r⌉, r). */
export interface BasesSpec {
  readonly generator: GeneratorName;
  /** `projection_prng_key`; −2^63 ≤ key < 2^64. */
  readonly key: bigint;
  readonly r: number;
  /** Largest and smallest dimension of the shape that the bases were drawn at. */
  readonly max: number;
  readonly min: number;
  readonly sparsity: Sparsity;
  /** The grid that normalized elements are rounded to: PEFT casts them to the base weights' dtype. */
  readonly grid: FloatGrid;
}

/** What the standard deviations depend on, as text: not the grid, and of the seed only what MT19937 takes of it. */
export function stdKey(spec: BasesSpec): string {
  return [spec.generator, mt19937Seed(spec.key), spec.r, spec.max, spec.min, spec.sparsity].join(" ");
}

/** How much of them is needed: the largest layer's M = rows, n = bases and m = cols. */
export interface BasesExtent {
  readonly rows: number;
  readonly bases: number;
  readonly cols: number;
}

/**
 * A pair of bases ready for the GPU. `a` is (r, cols); `b` is (rows, bases · r), its column the flat index j·r + k of
 * base j, element k (PEFT's memory order). Both have the same kind of storage.
 */
export interface Bases {
  readonly r: number;
  readonly extent: BasesExtent;
  readonly a: BasisMatrix;
  readonly b: BasisMatrix;
  /** The standard deviations that were divided by; null where nothing was normalized (philox, saved projections). */
  readonly stdA: number | null;
  readonly stdB: number | null;
}

/** Two packed matrices and what they were divided by. */
export interface DrawnPair {
  readonly a: BasisMatrix;
  readonly b: BasisMatrix;
  readonly stds: StdPair;
}

/** The first elements of A and B in the order of drawing, final (normalized, on their grid), as f32. */
export interface BasesHead {
  readonly a: Float32Array<ArrayBuffer>;
  readonly b: Float32Array<ArrayBuffer>;
}

/**
 * Elements of one random matrix that are drawn at most: twice as many as the largest known weights (2^18 × 2^14) have. What
 * is recorded may be damaged, and drawing so many takes a minute.
 */
const MOST_DRAWN = 2 ** 33;

/** Throws `RandloraError` "adapter" where a matrix of this shape is too large to be drawn. */
export function checkDrawn(...shape: readonly number[]): void {
  if (shape.reduce((product, size) => product * size, 1) <= MOST_DRAWN) return;
  const cause = `random bases of ${shape.join(" × ")} elements are more than any model needs`;
  throw new RandloraError(
    "adapter",
    cause,
    "choose a smaller rank; of an adapter that exists, the recorded shape of its bases is damaged",
  );
}

/** Number of bases of a shape: n = ⌈min/r⌉. */
export function basesCount(min: number, r: number): number {
  return Math.ceil(min / r);
}

/** Long work that pauses every few milliseconds at most, with its result. */
export type Steps<T> = Generator<undefined, T, undefined>;

/** Milliseconds after which signals, timers and the GPU get their turn. */
const TURN = 30;

/** Does the work in one go. */
export function finishSteps<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/**
 * Does the work without keeping the process from anything else.
 * @throws the signal's reason when it was aborted
 */
export async function takeSteps<T>(steps: Steps<T>, signal?: AbortSignal): Promise<T> {
  let turn = performance.now() + TURN;
  for (;;) {
    signal?.throwIfAborted();
    const step = steps.next();
    if (step.done === true) return step.value;
    if (performance.now() < turn) continue;
    await new Promise<void>((resolve) => setImmediate(resolve));
    turn = performance.now() + TURN;
  }
}
