import type { Device } from "../../compute/device/device.ts";
import { itemAt } from "../../files/item-at.ts";
import { Run } from "../../compute/tensor/run.ts";
import { read } from "../../compute/device/transfer.ts";
import { type DeltaBlock, type DeltaStorage, padded4 } from "../../compute/device/families/delta.ts";
import type { Staging } from "../../compute/device/staging.ts";
import type { FloatGrid, GeneratorName, Sparsity } from "../../compute/random/names.ts";
import { philoxFill, philoxStream } from "../../compute/random/philox.ts";
import { type Bases, basesCount, drawBases } from "../../adapters/frozen/drawing/draw.ts";
import { bilinearShape } from "../../adapters/delta/scaled-bases/shape.ts";
import {
  DeltaBases,
  type DeltaLayer,
  type DeltaLayerOnGpu,
  deltaReference,
} from "../../adapters/delta/scaled-bases/delta.ts";

/** The layer and the bases of a trial. */
export interface DeltaTrialSpec {
  readonly out: number;
  readonly in: number;
  readonly r: number;
  readonly generator: GeneratorName;
  readonly sparsity: Sparsity;
  /** What elements are rounded to; f32 by default. */
  readonly grid?: FloatGrid;
  /** The one that suits the GPU by default. */
  readonly staging?: Staging | undefined;
}

/** A sample of the GPU's ΔW beside the f64 reference. */
export interface DeltaCheck {
  /** Elements compared. */
  readonly sampled: number;
  /** max |ours − f64| over the sample, divided by its max |ΔW|. */
  readonly maxRelativeError: number;
  /** Every sampled element within 2e-6 · max |ΔW| + 1 ulp of f64, and no element of the whole ΔW is NaN or infinite. */
  readonly correct: boolean;
}

/** What a trial took. */
export interface DeltaTiming {
  /** Median seconds of one ΔW. */
  readonly seconds: number;
  /** 10⁹ floating-point operations a second at that time: 2·M·n·r·m of them. */
  readonly gflops: number;
}

/** Rows and columns that a check compares, at most. */
const SAMPLE = 16;
/** Largest allowed |ours − f64|, as a share of max |ΔW|, beside one unit in the last place. */
const TOLERANCE = 2e-6;
/** Shortest stretch of GPU work that is timed, in seconds, and the most dispatches of it. */
const STRETCH = 0.05;
const MOST_DISPATCHES = 256;
const STRETCHES = 5;

const NO_CACHE = { get: () => null, set: () => {} };

/**
 * The ΔW kernel at work on one random layer, exactly as `merge` runs it: to see that a GPU computes it right, and how
 * fast. Nothing is benchmarked that is not used.
 */
export class DeltaTrial {
  /** Floating-point operations of one ΔW. */
  readonly flops: number;
  /** How the bases lie in GPU memory. */
  readonly storage: DeltaStorage;
  readonly staging: Staging;
  readonly #gpu: Device;
  readonly #bases: Bases;
  readonly #layer: DeltaLayer;
  readonly #kernel: DeltaBases;
  readonly #onGpu: DeltaLayerOnGpu;
  readonly #block: DeltaBlock;

  private constructor(gpu: Device, bases: Bases, layer: DeltaLayer, kernel: DeltaBases, staging: Staging) {
    const { shape, lambda, gamma, scale } = layer;
    this.#gpu = gpu;
    this.#bases = bases;
    this.#layer = layer;
    this.#kernel = kernel;
    this.staging = staging;
    this.storage = bases.b.storage.kind;
    this.flops = 2 * shape.rows * shape.cols * shape.terms;
    const parameters = { lambda: Float32Array.from(lambda), gamma: Float32Array.from(gamma) };
    this.#onGpu = kernel.layer({ shape, scale, weightIsTransposed: false, ...parameters });
    const pitch = padded4(shape.in);
    const target = gpu.memory.allocate("ΔW", 4 * shape.out * pitch);
    this.#block = { firstRow: 0, rows: shape.out, pitch, target };
  }

  /**
   * Draws the bases, a random λ and γ, and compiles the kernel.
   * @throws RandloraError `gpu`, `memory`
   */
  static async create(gpu: Device, spec: DeltaTrialSpec): Promise<DeltaTrial> {
    const { r, generator, sparsity, grid = "f32", staging = gpu.staging } = spec;
    const { out, in: input } = spec;
    const tall = out >= input;
    const shape = bilinearShape({ out, in: input, r, bases: basesCount(Math.min(out, input), r), tall });
    const { rows: max, cols: min, bases: n } = shape;
    const bases = drawBases({ generator, key: 0n, r, max, min, sparsity, grid }, shape, NO_CACHE);
    const layer: DeltaLayer = {
      shape,
      lambda: normalized(0, r * n),
      gamma: normalized(1, n * min),
      scale: 1 / min,
      pairing: "peft",
    };
    return new DeltaTrial(gpu, bases, layer, await DeltaBases.create(gpu, bases, "peft"), staging);
  }

  /** Computes ΔW `times` times in one submission and waits for it. */
  async run(times = 1): Promise<void> {
    using run = new Run(this.#gpu, this.staging);
    for (let i = 0; i < times; i++) this.#kernel.form(run, this.#onGpu, this.#block);
    await run.submit();
    await this.#gpu.idle();
  }

  /** Computes ΔW and compares a sample, spread over all of it, with double precision. */
  async check(): Promise<DeltaCheck> {
    const { out, in: input } = this.#layer.shape;
    await this.run();
    const { pitch, target } = this.#block;
    const ours = new Float32Array((await read(this.#gpu, target)).buffer);
    const rows = spread(out);
    const cols = spread(input);
    const wanted = deltaReference(this.#bases, this.#layer, { rows, cols });
    const found = rows.flatMap((row) => cols.map((col) => itemAt(ours, row * pitch + col)));
    const check = compare(found, wanted);
    return { ...check, correct: check.correct && ours.every(Number.isFinite) };
  }

  /** Times ΔW; the first, untimed stretch warms up and says how many ΔW make a stretch worth timing. */
  async measure(): Promise<DeltaTiming> {
    await this.run();
    const once = await this.#time(1);
    // As long as all stretches together: a software GPU is not timed for half a minute.
    if (once > STRETCHES * STRETCH) return { seconds: once, gflops: this.flops / once / 1e9 };
    const times = Math.max(1, Math.min(MOST_DISPATCHES, Math.ceil(STRETCH / once)));
    const stretches: number[] = [];
    for (let i = 0; i < STRETCHES; i++) stretches.push((await this.#time(times)) / times);
    const seconds = stretches.toSorted((left, right) => left - right)[STRETCHES >> 1] ?? once;
    return { seconds, gflops: this.flops / seconds / 1e9 };
  }

  /** Gives the GPU memory back. */
  release(): void {
    this.#gpu.memory.release(this.#block.target);
    this.#kernel.releaseLayer(this.#onGpu);
    this.#kernel.release();
  }

  [Symbol.dispose](): void {
    this.release();
  }

  async #time(times: number): Promise<number> {
    const start = performance.now();
    await this.run(times);
    return (performance.now() - start) / 1000;
  }
}

/**
 * Compares f32 results with double precision.
 * @param ours as many as `wanted`; NaN is never correct
 */
export function compare(ours: readonly number[], wanted: Float64Array): DeltaCheck {
  const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  let worst = 0;
  let correct = ours.length === wanted.length;
  wanted.forEach((value, at) => {
    const error = Math.abs((ours[at] ?? NaN) - value);
    worst = Math.max(worst, error);
    const ulp = 2 ** (Math.floor(Math.log2(Math.max(Math.abs(value), 2 ** -126))) - 23);
    if (!(error <= TOLERANCE * largest + ulp)) correct = false;
  });
  return { sampled: wanted.length, maxRelativeError: worst / largest, correct };
}

/** Indices from first to last, evenly spread. */
export function spread(length: number): number[] {
  const count = Math.min(SAMPLE, length);
  return Array.from({ length: count }, (_, at) => Math.round((at * (length - 1)) / Math.max(1, count - 1)));
}

/** Numbers of standard deviation 1, always the same. */
function normalized(stream: 0 | 1, count: number): Float32Array {
  const values = new Float32Array(count);
  philoxFill(philoxStream(1n, stream, "dense", 1), 0, values);
  return values;
}
