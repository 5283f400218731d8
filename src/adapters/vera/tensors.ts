import type { Bases } from "../frozen/drawing/bases.ts";
import { drawFactors, FACTOR_GENERATORS, type FactorsSpec, savedFactors } from "../frozen/drawing/factors.ts";
import { takeSteps } from "../frozen/drawing/steps.ts";
import { type BasisMatrix, readElement } from "../../compute/device/matrix-storage.ts";
import type { FloatGrid } from "../../compute/random/names.ts";
import { toProjection } from "../frozen/projection.ts";
import { computedTensor } from "../files/tensors.ts";
import type { VeraConfig } from "./config.ts";
import { type FactorsRecord, specOf } from "./record.ts";
import { SAVED_A, SAVED_B, type SavedFactors } from "./saved.ts";
import { recordFactors } from "./source.ts";

/** The whole of both factors that `spec` means, as the tensors that PEFT saves. Throws the signal's reason when it is aborted. */
export async function drawFactorTensors(spec: FactorsSpec, signal?: AbortSignal): Promise<SavedFactors> {
  const { r, maxIn, maxOut } = spec;
  const { a, b } = await drawWhole(spec, signal);
  return {
    a: computedTensor(SAVED_A, [r, maxIn], (first, out) => fillTransposed(b, first, out)),
    b: computedTensor(SAVED_B, [maxOut, r], (first, out) => fillTransposed(a, first, out)),
    maxIn,
    maxOut,
  };
}

function drawWhole(spec: FactorsSpec, signal: AbortSignal | undefined): Promise<Bases> {
  return takeSteps(drawFactors(spec, { in: spec.maxIn, out: spec.maxOut }), signal);
}

/** Elements of the matrix whose transpose is held, from `first` on. */
function fillTransposed(held: BasisMatrix, first: number, out: Float32Array): void {
  for (let i = 0; i < out.length; i++) {
    out[i] = readElement(held, (first + i) % held.rows, Math.floor((first + i) / held.rows));
  }
}

const GRIDS: readonly FloatGrid[] = ["f32", "bf16", "f16"];

/**
 * Finds the generator that draws exactly these factors, element by element, from the configuration's seed: they then need
 * not be stored. `undefined` when none does.
 */
export async function identifyFactors(
  saved: SavedFactors,
  config: VeraConfig,
  signal?: AbortSignal,
): Promise<FactorsRecord | undefined> {
  const held = await readWhole(saved, signal);
  for (const generator of FACTOR_GENERATORS) {
    for (const dtype of GRIDS) {
      const spec = specOf({ generator, maxIn: saved.maxIn, maxOut: saved.maxOut, dtype }, config);
      if (sameFactors(await drawWhole(spec, signal), held)) return recordFactors(spec);
    }
  }
  return undefined;
}

/** Does the record draw exactly these factors? */
export async function recordDraws(
  record: FactorsRecord,
  saved: SavedFactors,
  config: VeraConfig,
  signal?: AbortSignal,
): Promise<boolean> {
  if (record.maxIn !== saved.maxIn || record.maxOut !== saved.maxOut) return false;
  return sameFactors(await drawWhole(specOf(record, config), signal), await readWhole(saved, signal));
}

function readWhole({ a, b, maxIn, maxOut }: SavedFactors, signal: AbortSignal | undefined): Promise<Bases> {
  return savedFactors(toProjection(a, SAVED_A), toProjection(b, SAVED_B), { in: maxIn, out: maxOut }, signal);
}

function sameFactors(one: Bases, other: Bases): boolean {
  return sameElements(one.a, other.a) && sameElements(one.b, other.b);
}

function sameElements(one: BasisMatrix, other: BasisMatrix): boolean {
  if (one.rows !== other.rows || one.cols !== other.cols) return false;
  for (let row = 0; row < one.rows; row++) {
    for (let col = 0; col < one.cols; col++) {
      if (!Object.is(readElement(one, row, col), readElement(other, row, col))) return false;
    }
  }
  return true;
}
