import type { Gpu } from "../../gpu/gpu.ts";
import type { GpuBuffer } from "../../gpu/memory.ts";
import type { Kernel } from "../../gpu/pipelines.ts";
import type { Stream } from "../../gpu/stream.ts";
import { upload, uploaded } from "../../gpu/transfer.ts";
import { Run } from "../../tensor/run.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { deltaKernel } from "../../kernels/delta.ts";
import { defaultStaging, type Staging } from "../../kernels/staging.ts";
import type { DeltaBlock, DeltaSample } from "../bilinear/delta-block.ts";
import { type BasisOnGpu, deltaDispatches, type DeltaOperands, padded4 } from "../bilinear/delta-dispatch.ts";
import type { DeltasOnGpu, DeltaSource, LayerDelta } from "../plan.ts";
import { recordZero } from "../../tensor/fill.ts";
import type { FactorRows, LowRankLayer, LowRankShape } from "./layer.ts";
import { lowRankReference } from "./reference.ts";
import { productTile, type Tile } from "../../kernels/product.ts";

/** What the kernel reads of a matrix's row at once. */
const ROW_ALIGNMENT = 16;
/** Factors are read and uploaded in rows of about this much: that of an output embedding is large. */
const PIECE_BYTES = 4 * 2 ** 20;

/** What does without the weight that ΔW is added to. */
export interface LowRankSource extends DeltaSource {
  reference(layer: number, factor: number, sample: DeltaSample): Promise<Float64Array>;
}

/** Factors that are worked out on the GPU. */
export interface FactorsOnGpu {
  /** Records A (rank, in) and B (out, rank) of a layer into these tensors, whose padding is zero and stays so. */
  form(run: Run, layer: number, a: Tensor, b: Tensor): void | Promise<void>;
  release(): void;
}

/** ΔW of layers that are products of two factors. */
export function lowRankDeltas(layers: readonly LowRankLayer[]): LowRankSource {
  return {
    upload: (gpu) => LowRankDeltas.create(gpu, layers),
    reference: (index, factor, sample) => lowRankReference(layerAt(layers, index), factor, sample),
  };
}

/**
 * ΔW = scale · B·A by RandLoRA's kernel: one base, λ and γ all ones, rows of A paired with columns of B one by
 * one (the paper's pairing). Multiplying by one is exact, so the sums are those of a plain product.
 */
export class LowRankDeltas implements DeltasOnGpu {
  readonly #gpu: Gpu;
  readonly #layers: readonly LowRankShape[];
  readonly #factors: readonly LowRankLayer[] | FactorsOnGpu;
  readonly #kernel: Kernel;
  readonly #staging: Staging;
  readonly #tile: Tile;

  private constructor(
    gpu: Gpu,
    layers: readonly LowRankShape[],
    factors: readonly LowRankLayer[] | FactorsOnGpu,
    kernel: Kernel,
    staging: Staging,
  ) {
    this.#gpu = gpu;
    this.#layers = layers;
    this.#factors = factors;
    this.#kernel = kernel;
    this.#staging = staging;
    this.#tile = productTile(staging);
  }

  /** Compiles the kernel. */
  static async create(
    gpu: Gpu,
    layers: readonly LowRankLayer[],
    staging: Staging = defaultStaging(gpu),
  ): Promise<LowRankDeltas> {
    return new LowRankDeltas(gpu, layers, layers, await compiled(gpu, staging), staging);
  }

  /** The same with factors from the GPU, which are released with what is made here. */
  static async derived(
    gpu: Gpu,
    layers: readonly LowRankShape[],
    factors: FactorsOnGpu,
    staging: Staging = defaultStaging(gpu),
  ): Promise<LowRankDeltas> {
    return new LowRankDeltas(gpu, layers, factors, await compiled(gpu, staging), staging);
  }

  async layer(index: number, factor: number): Promise<LayerDelta<DeltaBlock>> {
    const layer = layerAt(this.#layers, index);
    const { rank, conv1d, out, in: input, scale } = layer;
    const held: GpuBuffer[] = [];
    const release = () => held.forEach((buffer) => this.#gpu.memory.release(buffer));
    const keep = (buffer: GpuBuffer): GpuBuffer => {
      held.push(buffer);
      return buffer;
    };
    try {
      const ones = (label: string, count: number, length: number) =>
        keep(uploaded(this.#gpu, label, new Float32Array(length).fill(1, 0, count)));
      const operands: DeltaOperands = {
        ...(await this.#place(index, keep)),
        lambda: ones("λ", rank, padded(rank)),
        gamma: ones("γ", input, padded4(input)),
        rows: out,
        cols: input,
        terms: rank,
        fastCount: rank,
        transposed: conv1d,
        scale: scale * factor,
      };
      return {
        form: (stream, block) => this.#form(stream, operands, block),
        release,
      };
    } catch (thrown) {
      release();
      throw thrown;
    }
  }

  /** Stored factors share nothing. */
  release(): void {
    if ("form" in this.#factors) this.#factors.release();
  }

  #form(stream: Stream, operands: DeltaOperands, block: DeltaBlock): void {
    for (const { parameters, buffers, workgroups } of deltaDispatches(this.#gpu, this.#tile, operands, block)) {
      stream.dispatch(this.#kernel, parameters, buffers, workgroups);
    }
  }

  async #place(index: number, keep: (buffer: GpuBuffer) => GpuBuffer): Promise<{ a: BasisOnGpu; b: BasisOnGpu }> {
    const factors = this.#factors;
    if (!("form" in factors)) {
      const layer = layerAt(factors, index);
      return { a: await this.#matrix(layer.a, keep), b: await this.#matrix(layer.b, keep) };
    }
    const { rank, in: input, out } = layerAt(this.#layers, index);
    const empty = (label: string, rows: number, cols: number): Tensor => {
      const pitch = padded(cols);
      const buffer = keep(this.#gpu.memory.allocate(label, rows * pitch * 4));
      return { shape: [rows, cols], dtype: "F32", buffer, offset: 0, pitch };
    };
    const [a, b] = [empty("factor A", rank, input), empty("factor B", out, rank)];
    using run = new Run(this.#gpu, this.#staging);
    for (const tensor of [a, b]) recordZero(run, { ...tensor, shape: [tensor.shape[0], tensor.pitch] });
    await factors.form(run, index, a, b);
    await run.submit();
    return { a: onGpu(a), b: onGpu(b) };
  }

  /** Uploads a factor, widened to f32, with padded rows. */
  async #matrix(factor: FactorRows, keep: (buffer: GpuBuffer) => GpuBuffer): Promise<BasisOnGpu> {
    const { name, rows, cols } = factor;
    const stride = padded(cols);
    const rowBytes = stride * 4;
    const buffer = keep(this.#gpu.memory.allocate(name, rows * rowBytes));
    const step = Math.max(1, Math.floor(PIECE_BYTES / rowBytes));
    for (let row = 0; row < rows; row += step) {
      const count = Math.min(step, rows - row);
      const values = await factor.read(row, count);
      const spread = new Float32Array(count * stride);
      for (let i = 0; i < count; i++) spread.set(values.subarray(i * cols, (i + 1) * cols), i * stride);
      upload(this.#gpu, buffer, spread, row * rowBytes);
    }
    return { buffer, stride, rowBytes, value: 1, philox: undefined };
  }
}

function onGpu({ buffer, pitch }: Tensor): BasisOnGpu {
  return { buffer, stride: pitch, rowBytes: pitch * 4, value: 1, philox: undefined };
}

function compiled(gpu: Gpu, staging: Staging): Promise<Kernel> {
  return gpu.pipelines.get(deltaKernel({ a: "f32", b: "f32", pairing: "paper", staging }));
}

function layerAt<L extends LowRankShape>(layers: readonly L[], index: number): L {
  const layer = layers[index];
  if (layer === undefined) throw new RangeError(`layer ${index} of ${layers.length}`);
  return layer;
}

function padded(count: number): number {
  return Math.ceil(count / ROW_ALIGNMENT) * ROW_ALIGNMENT;
}
