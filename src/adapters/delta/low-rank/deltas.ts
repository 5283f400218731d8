import type { Device, DeviceBuffer } from "../../../compute/device/device.ts";
import {
  type DeltaBasis,
  type DeltaBlock,
  type DeltaOperands,
  padded4,
} from "../../../compute/device/families/delta.ts";
import type { Staging } from "../../../compute/device/staging.ts";
import { uploaded } from "../../../compute/device/transfer.ts";
import { Run } from "../../../compute/tensor/run.ts";
import type { Tensor } from "../../../compute/tensor/tensor.ts";
import type { DeltasOnGpu, DeltaSource, LayerDelta } from "../../plan.ts";
import { recordZero } from "../../../compute/tensor/fill.ts";
import type { FactorRows, LowRankLayer, LowRankShape } from "./layer.ts";
import type { DeltaSample } from "../sample.ts";
import { lowRankReference } from "./reference.ts";

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
  readonly #gpu: Device;
  readonly #layers: readonly LowRankShape[];
  readonly #factors: readonly LowRankLayer[] | FactorsOnGpu;
  readonly #staging: Staging;

  private constructor(
    gpu: Device,
    layers: readonly LowRankShape[],
    factors: readonly LowRankLayer[] | FactorsOnGpu,
    staging: Staging,
  ) {
    this.#gpu = gpu;
    this.#layers = layers;
    this.#factors = factors;
    this.#staging = staging;
  }

  /** Compiles the kernel. */
  static async create(
    gpu: Device,
    layers: readonly LowRankLayer[],
    staging: Staging = gpu.staging,
  ): Promise<LowRankDeltas> {
    await compile(gpu, staging);
    return new LowRankDeltas(gpu, layers, layers, staging);
  }

  /** The same with factors from the GPU. */
  static async derived(
    gpu: Device,
    layers: readonly LowRankShape[],
    factors: FactorsOnGpu,
    staging: Staging = gpu.staging,
  ): Promise<LowRankDeltas> {
    await compile(gpu, staging);
    return new LowRankDeltas(gpu, layers, factors, staging);
  }

  async layer(index: number, factor: number): Promise<LayerDelta<DeltaBlock>> {
    const layer = layerAt(this.#layers, index);
    const { rank, conv1d, out, in: input, scale } = layer;
    const held: DeviceBuffer[] = [];
    const release = () => held.forEach((buffer) => this.#gpu.memory.release(buffer));
    const keep = (buffer: DeviceBuffer): DeviceBuffer => {
      held.push(buffer);
      return buffer;
    };
    try {
      const ones = (label: string, count: number, length: number) =>
        keep(uploaded(this.#gpu, label, new Float32Array(length).fill(1, 0, count)));
      const operands: DeltaOperands = {
        pairing: "paper",
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
        form: (run, block) => run.compute("delta", { ...operands, block }),
        release,
      };
    } catch (thrown) {
      release();
      throw thrown;
    }
  }

  async #place(index: number, keep: (buffer: DeviceBuffer) => DeviceBuffer): Promise<{ a: DeltaBasis; b: DeltaBasis }> {
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
  async #matrix(factor: FactorRows, keep: (buffer: DeviceBuffer) => DeviceBuffer): Promise<DeltaBasis> {
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
      this.#gpu.write(buffer, spread, row * rowBytes);
    }
    return { buffer, storage: "f32", stride, value: 1, philox: undefined };
  }
}

function onGpu({ buffer, pitch }: Tensor): DeltaBasis {
  return { buffer, storage: "f32", stride: pitch, value: 1, philox: undefined };
}

function compile(gpu: Device, staging: Staging): Promise<void> {
  return gpu.prepare("delta", { a: "f32", b: "f32", pairing: "paper" }, staging);
}

function layerAt<L extends LowRankShape>(layers: readonly L[], index: number): L {
  const layer = layers[index];
  if (layer === undefined) throw new RangeError(`layer ${index} of ${layers.length}`);
  return layer;
}

function padded(count: number): number {
  return Math.ceil(count / ROW_ALIGNMENT) * ROW_ALIGNMENT;
}
