import { type Steps, takeSteps } from "../../../adapters/frozen/drawing/bases.ts";
import { RandloraError } from "../../../files/errors.ts";
import { oneLine } from "../../../files/failure.ts";
import type { Variant } from "../plan-variants.ts";
import type { Activations } from "./activations.ts";

/** Representations of N samples: (N, width), row by row without gaps. */
export interface Representations {
  readonly width: number;
  readonly rows: Float32Array<ArrayBuffer>;
}

/**
 * How CKA is estimated. `minibatch`: unbiased, by sums over batches (Nguyen et al., arXiv:2010.15327, equation 3 with
 * HSIC₁ of Song et al.). `full`: all samples at once (Kornblith et al., arXiv:1905.00414, linear CKA), biased upwards where
 * samples are few beside the width.
 */
export const ESTIMATORS = ["minibatch", "full"] as const;
export type Estimator = (typeof ESTIMATORS)[number];

/** Fewest samples of a batch: HSIC₁ divides by n − 3. */
export const LEAST_BATCH = 4;

export interface CkaOptions {
  readonly estimator: Estimator;
  /** Samples of a batch of `minibatch`; a last one of fewer than {@link LEAST_BATCH} is left out. */
  readonly batchSize: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Linear CKA of two representations of the same samples, in f64: 1 where they differ by a rotation and a factor alone.
 * @returns NaN where one of them is the same for all samples, or an unbiased estimate of its variance is not above zero
 * @throws RangeError for other numbers of samples, or fewer than {@link LEAST_BATCH}
 */
export async function cka(x: Representations, y: Representations, options: CkaOptions): Promise<number> {
  const samples = x.rows.length / x.width;
  if (samples !== y.rows.length / y.width || samples < LEAST_BATCH) {
    throw new RangeError(`${samples} and ${y.rows.length / y.width} samples`);
  }
  const { estimator, batchSize, signal } = options;
  // HSIC₁ is the same wherever the origin lies; from the mean, its sums lose fewest digits.
  const [a, b] = [centred(x), centred(y)];
  if (estimator === "full") {
    const { xy, xx, yy } = await takeSteps(frobeniusSteps(a, b), signal);
    return xy / Math.sqrt(xx * yy);
  }
  const sums = { xy: 0, xx: 0, yy: 0 };
  for (const [first, end] of batchesOf(samples, batchSize)) {
    const { xy, xx, yy } = await takeSteps(hsicSteps(part(a, first, end), part(b, first, end)), signal);
    sums.xy += xy;
    sums.xx += xx;
    sums.yy += yy;
  }
  return sums.xx > 0 && sums.yy > 0 ? sums.xy / Math.sqrt(sums.xx * sums.yy) : NaN;
}

/** The batches of `minibatch`, first sample and end; a last one that is too small is left out. */
export function batchesOf(samples: number, size: number): [first: number, end: number][] {
  const batches: [number, number][] = [];
  for (let first = 0; samples - first >= LEAST_BATCH; first += size) {
    batches.push([first, Math.min(first + size, samples)]);
  }
  return batches;
}

/** What is summed for x with y, x with x, y with y. */
interface Three {
  readonly xy: number;
  readonly xx: number;
  readonly yy: number;
}

/** Rows in f64. */
interface Rows {
  readonly count: number;
  readonly width: number;
  readonly data: Float64Array;
}

/** ‖YᵀX‖²_F, ‖XᵀX‖²_F and ‖YᵀY‖²_F: sums over all pairs of rows of products of their inner products. */
function* frobeniusSteps(x: Rows, y: Rows): Steps<Three> {
  let [xy, xx, yy] = [0, 0, 0];
  for (let i = 0; i < x.count; i++) {
    for (let j = 0; j <= i; j++) {
      const [k, l] = [inner(x, i, j), inner(y, i, j)];
      const weight = i === j ? 1 : 2;
      xy += weight * k * l;
      xx += weight * k * k;
      yy += weight * l * l;
    }
    yield;
  }
  return { xy, xx, yy };
}

/**
 * HSIC₁ of K = XXᵀ and L = YYᵀ with zero diagonals, n rows each:
 * [tr(KL) + 1ᵀK1·1ᵀL1/((n − 1)(n − 2)) − 2/(n − 2)·1ᵀKL1] / (n(n − 3)).
 */
function* hsicSteps(x: Rows, y: Rows): Steps<Three> {
  const n = x.count;
  const [sumsOfK, sumsOfL] = [new Float64Array(n), new Float64Array(n)];
  const traces = { xy: 0, xx: 0, yy: 0 };
  const add = (sums: Float64Array, i: number, value: number) => {
    sums[i] = (sums[i] as number) + value;
  };
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      const [k, l] = [inner(x, i, j), inner(y, i, j)];
      traces.xy += 2 * k * l;
      traces.xx += 2 * k * k;
      traces.yy += 2 * l * l;
      for (const at of [i, j]) {
        add(sumsOfK, at, k);
        add(sumsOfL, at, l);
      }
    }
    yield;
  }
  const hsic = (trace: number, a: Float64Array, b: Float64Array) => {
    const total = (sums: Float64Array) => sums.reduce((sum, value) => sum + value, 0);
    const crossed = a.reduce((sum, value, i) => sum + value * (b[i] as number), 0);
    return (trace + (total(a) * total(b)) / ((n - 1) * (n - 2)) - (2 / (n - 2)) * crossed) / (n * (n - 3));
  };
  return {
    xy: hsic(traces.xy, sumsOfK, sumsOfL),
    xx: hsic(traces.xx, sumsOfK, sumsOfK),
    yy: hsic(traces.yy, sumsOfL, sumsOfL),
  };
}

function inner({ width, data }: Rows, i: number, j: number): number {
  const [a, b] = [i * width, j * width];
  let sum = 0;
  for (let k = 0; k < width; k++) sum += (data[a + k] as number) * (data[b + k] as number);
  return sum;
}

function part({ width, data }: Rows, first: number, end: number): Rows {
  return { count: end - first, width, data: data.subarray(first * width, end * width) };
}

/** In f64, with the mean of every column taken off. */
function centred({ width, rows }: Representations): Rows {
  const count = rows.length / width;
  const data = Float64Array.from(rows);
  for (let col = 0; col < width; col++) {
    let sum = 0;
    for (let at = col; at < data.length; at += width) sum += data[at] as number;
    for (let at = col; at < data.length; at += width) data[at] = (data[at] as number) - sum / count;
  }
  return { count, width, data };
}

/** How near one module's outputs are to the reference's. */
export interface LayerCka {
  /** The module's path in the checkpoint. */
  readonly name: string;
  /** CKA of each variant, in their order; NaN where it is not defined. */
  readonly values: readonly number[];
}

/**
 * Linear CKA between the outputs of a model's blocks with a reference and those with each of several variants, as in figure
 * 4a of the RandLoRA paper.
 * @param collect the outputs with a variant, of the same samples
 * @throws what `collect` throws; the signal's reason when it is aborted
 */
export async function compareLayers(
  collect: (variant: Variant) => Promise<readonly Activations[]>,
  reference: Variant,
  others: readonly Variant[],
  options: CkaOptions,
): Promise<readonly LayerCka[]> {
  const of = await collect(reference);
  const values = of.map((): number[] => []);
  for (const variant of others) {
    // One variant's at a time: they are as large as the samples times the model's width and depth.
    const found = await collect(variant);
    for (const [at, row] of values.entries()) row.push(await cka(moduleAt(of, at), moduleAt(found, at), options));
  }
  return of.map(({ name }, at) => ({ name, values: values[at] ?? [] }));
}

/**
 * The samples that CKA looks at.
 * @throws RandloraError `data` for too few
 */
export function samplesUsed(
  data: { readonly path: string; readonly length: number },
  { estimator, batchSize }: CkaOptions,
): number {
  if (data.length < LEAST_BATCH) {
    const found = `${oneLine(data.path)}: ${data.length} ${data.length === 1 ? "sample" : "samples"}`;
    throw new RandloraError("data", `${found}, but CKA needs ${LEAST_BATCH}`, "give more data, or raise --samples");
  }
  return estimator === "full" ? data.length : (batchesOf(data.length, batchSize).at(-1)?.[1] ?? 0);
}

function moduleAt(all: readonly Activations[], at: number): Activations {
  const found = all[at];
  if (found === undefined) throw new RangeError(`no module ${at}`);
  return found;
}
