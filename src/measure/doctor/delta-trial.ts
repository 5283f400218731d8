import type { Device } from "../../compute/device/device.ts";
import { itemAt } from "../../files/item-at.ts";
import { Run } from "../../compute/tensor/run.ts";
import { read, uploaded } from "../../compute/device/transfer.ts";
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
import { bf16ToF32, f32ToBf16 } from "../../files/safetensors/numbers.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import { type Shape, tensorBytes, tensorIn } from "../../compute/tensor/tensor.ts";

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

/** y = x · Wᵀ: rows of x, rows of W, terms of each sum. */
interface ProductShape {
  readonly rows: number;
  readonly cols: number;
  readonly terms: number;
}

/** A product on a device: whether it is right, and how fast. */
export interface ProductTrial extends ProductShape, DeltaCheck {
  /** The shortest of some. */
  readonly seconds: number;
  readonly gflops: number;
  /** 10⁹ bytes of W a second. */
  readonly gigabytes: number;
}

/** What training and prompts are made of. */
export const PRODUCT: ProductShape = { rows: 512, cols: 1024, terms: 1024 };
/** What writing a token is made of; W is larger than caches. */
export const VECTOR_PRODUCT: ProductShape = { rows: 1, cols: 8192, terms: 2048 };

const TIMES = 5;

/** One product with bf16 weights, checked against double precision, and its speed. @throws RandloraError */
export async function tryProduct(device: Device, shape: ProductShape): Promise<ProductTrial> {
  const { rows, cols, terms } = shape;
  const x = repeated(new Float32Array(rows * terms).map((_, at) => (at < PERIOD ? wave(at) : 0)));
  const weight = repeated(new Uint16Array(cols * terms).map((_, at) => (at < PERIOD ? f32ToBf16(wave(at + 0.5)) : 0)));
  const held = [uploaded(device, "x", x), uploaded(device, "W", weight)] as const;
  const y = device.memory.allocate("y", tensorBytes([rows, cols], "F32"));
  const once = async (): Promise<number> => {
    const operands = {
      x: tensorIn(held[0], [rows, terms], "F32"),
      weight: tensorIn(held[1], [cols, terms], "BF16"),
      bias: undefined,
      residual: undefined,
    };
    using run = new Run(device);
    run.apply(OPS.linear, operands, {}, { y: tensorIn(y, [rows, cols] satisfies Shape, "F32") });
    const begun = performance.now();
    await run.submit();
    await device.idle();
    return (performance.now() - begun) / 1000;
  };
  try {
    await once();
    const times: number[] = [];
    for (let at = 0; at < TIMES; at++) times.push(await once());
    const seconds = Math.min(...times);
    const found = new Float32Array((await read(device, y)).buffer);
    const places = spread(rows).flatMap((row) => spread(cols).map((col) => [row, col] as const));
    const wanted = Float64Array.from(places, ([row, col]) => {
      let sum = 0;
      for (let at = 0; at < terms; at++) sum += (x[row * terms + at] ?? NaN) * bf16ToF32(weight[col * terms + at] ?? 0);
      return sum;
    });
    const check = compare(
      places.map(([row, col]) => found[row * cols + col] ?? NaN),
      wanted,
    );
    const correct = check.correct && found.every(Number.isFinite);
    const [gflops, gigabytes] = [2 * rows * cols * terms, 2 * cols * terms].map((work) => work / seconds / 1e9);
    return { ...shape, ...check, correct, seconds, gflops: gflops ?? 0, gigabytes: gigabytes ?? 0 };
  } finally {
    for (const buffer of [...held, y]) device.memory.release(buffer);
  }
}

/** Numbers of either sign. Longer lists repeat them, not at the lengths of rows: they are made quickly. */
const PERIOD = 65_537;

function wave(at: number): number {
  return Math.sin(at * 1.7);
}

/** Fills what follows the first numbers with them. */
function repeated<T extends Float32Array | Uint16Array>(values: T): T {
  for (let end = PERIOD; end < values.length; end *= 2) values.copyWithin(end, 0, end);
  return values;
}
