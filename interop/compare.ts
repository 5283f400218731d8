import { join } from "node:path";
import type { Case } from "./judge.ts";
import { type FloatFormat, roundOnce, ulp } from "./rounding.ts";
import { openTensors, type StoredTensor } from "./tensors.ts";

/** How far adapted weights are from the f64 result. */
export interface Distance {
  weights: number;
  /** Weights that differ from the f64 result rounded once. */
  differing: number;
  /** Largest distance, as a multiple of what is allowed at that weight: more than 1 is wrong. */
  worst: number;
  /** Largest |weight − f64 result| / max|ΔW| of its tensor. */
  worstError: number;
}

/** What a comparison of two checkpoints found. */
export interface Comparison extends Distance {
  /** `differing` of those tensors alone for which the strict share is promised. */
  strict: Pick<Distance, "weights" | "differing">;
  /** One line for each adapted tensor with a weight beyond its bound. */
  beyond: string[];
}

/** The strict share is promised where rounding, not accumulation, is all that can differ. */
function isStrict(dtype: FloatFormat, statistics: Case["statistics"][string]): boolean {
  return dtype === "bf16" && statistics.ratio <= 0.1 && statistics.products <= 1024;
}

/**
 * Compare the adapted weights of a merged folder with the case's f64 results. Bounds: f32: 2e-6 · max|ΔW| + 1 ulp from the
 * f64 result; 16-bit: 1 ulp or 2e-6 · max|ΔW|, the larger, from the f64 result rounded once.
 */
export function compareWithExact(of: Case, folder: string): Comparison {
  const total: Comparison = {
    weights: 0,
    differing: 0,
    worst: 0,
    worstError: 0,
    strict: { weights: 0, differing: 0 },
    beyond: [],
  };
  const merged = openTensors(folder);
  for (const [name, exact] of openTensors(join(of.folder, "exact.safetensors"))) {
    const statistics = of.statistics[name];
    // A head that PEFT cannot untie is stored under the embedding's name in its merge.
    const tensor = merged.get(name) ?? (of.unties ? merged.get("model.embed_tokens.weight") : undefined);
    if (tensor === undefined || statistics === undefined) throw new Error(`${folder} has no tensor ${name}`);
    if (String(tensor.shape) !== String(exact.shape))
      throw new Error(`${name}: shape ${tensor.shape}, not ${exact.shape}`);
    if (tensor.dtype !== of.dtype.toUpperCase()) throw new Error(`${name}: ${tensor.dtype} in a merge to ${of.dtype}`);
    const one = distance(of.dtype, tensor, exact, statistics);
    if (!(one.worst <= 1)) total.beyond.push(`${name}: ${one.worst} times its bound`);
    total.weights += one.weights;
    total.differing += one.differing;
    total.worst = Math.max(total.worst, one.worst);
    total.worstError = Math.max(total.worstError, one.worstError);
    if (isStrict(of.dtype, statistics)) {
      total.strict.weights += one.weights;
      total.strict.differing += one.differing;
    }
  }
  return total;
}

function distance(
  dtype: FloatFormat,
  tensor: StoredTensor,
  exact: StoredTensor,
  { max_delta: maxDelta, largest }: Case["statistics"][string],
): Distance {
  const [ours, truth] = [tensor.values(), exact.values()];
  const slack = 2e-6 * largest;
  let [differing, worst, worstError] = [0, 0, 0];
  for (let i = 0; i < truth.length; i++) {
    const [weight, value] = [ours[i] ?? Number.NaN, truth[i] ?? Number.NaN];
    const rounded = roundOnce(value, dtype);
    const step = ulp(rounded, dtype);
    const off = Math.abs(weight - rounded);
    const error = Math.abs(weight - value);
    const part = dtype === "f32" ? error / (slack + step) : off / Math.max(step, slack);
    if (!(part <= worst)) worst = Number.isNaN(part) ? Number.POSITIVE_INFINITY : part;
    if (off !== 0) differing++;
    if (error > worstError) worstError = error;
  }
  return { weights: truth.length, differing, worst, worstError: worstError / maxDelta };
}

/** How many adapted weights of two merged folders differ, and by how many units in the last place of the second at most. */
export function compareMerges(
  of: Case,
  folder: string,
  reference: string,
): { weights: number; differing: number; worstUlp: number } {
  const [ours, theirs] = [openTensors(folder), openTensors(reference)];
  let [weights, differing, worstUlp] = [0, 0, 0];
  for (const name of Object.keys(of.statistics)) {
    const [a, b] = [ours.get(name)?.values(), theirs.get(name)?.values()];
    if (a === undefined || b === undefined) throw new Error(`${name} is not in both ${folder} and ${reference}`);
    weights += b.length;
    for (let i = 0; i < b.length; i++) {
      const [x, y] = [a[i] ?? NaN, b[i] ?? NaN];
      if (x === y) continue;
      differing++;
      worstUlp = Math.max(worstUlp, Math.abs(x - y) / ulp(y, of.dtype));
    }
  }
  return { weights, differing, worstUlp };
}

/**
 * Names of all tensors that are not what they must be, besides the adapted ones: byte for byte the base's, or, where the
 * adapter carries a trained module or bias, that one. Tensors missing or in excess are named too.
 */
export function wrongTensors(of: Case, folder: string): string[] {
  const merged = openTensors(folder);
  const base = openTensors(of.base);
  const replaced = openTensors(join(of.folder, "replaced.safetensors"));
  const expected = new Set([...base.keys(), ...replaced.keys(), ...Object.keys(of.statistics)]);
  const wrong = [...merged.keys()].filter((name) => !expected.has(name));
  for (const name of expected) {
    if (name in of.statistics) continue;
    const [found, source] = [merged.get(name), replaced.get(name) ?? base.get(name)];
    if (found === undefined || source === undefined || !sameTensor(of, found, source)) wrong.push(name);
  }
  return wrong;
}

function sameTensor(of: Case, found: StoredTensor, source: StoredTensor): boolean {
  if (found.dtype !== of.dtype.toUpperCase() || String(found.shape) !== String(source.shape)) return false;
  if (found.dtype === source.dtype) return Buffer.compare(found.bytes(), source.bytes()) === 0;
  const [values, original] = [found.values(), source.values()];
  return original.every((value, i) => values[i] === roundOnce(value, of.dtype));
}
