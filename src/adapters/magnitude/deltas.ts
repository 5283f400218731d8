import type { Gpu } from "../../gpu/gpu.ts";
import type { GpuBuffer } from "../../gpu/memory.ts";
import type { Kernel } from "../../gpu/pipelines.ts";
import { Stream } from "../../gpu/stream.ts";
import { upload, uploaded } from "../../gpu/transfer.ts";
import type { KernelDtype } from "../../kernels/dtype.ts";
import { MAGNITUDE_KERNEL, rescaleKernel } from "../../kernels/magnitude.ts";
import { columnSquaresKernel, rowSquaresKernel } from "../../kernels/weight-squares.ts";
import { defaultStaging, type Staging } from "../../kernels/staging.ts";
import { dtypeBytes } from "../../safetensors/dtype.ts";
import { repitched } from "../../tensor/repitch.ts";
import { BLOCK_ROWS } from "../bilinear/delta-block.ts";
import { padded4 } from "../bilinear/delta-dispatch.ts";
import type { DeltasOnGpu, DeltaSource, LayerDelta, StoredWeight, WeightBlock } from "../plan.ts";
import { columnSquares, type Dispatch, magnitudes, rescaling, rowSquares } from "./dispatches.ts";
import { magnitudeReference } from "./reference.ts";

/** A layer whose rows are rescaled. */
export interface MagnitudeLayer {
  readonly out: number;
  /** W is stored (in, out). */
  readonly conv1d: boolean;
  /** m (out). Throws `RandloraError` "numeric", "file". */
  magnitude(): Promise<Float32Array<ArrayBuffer>>;
}

/** Bytes of W's rows that are read and squared at once where a norm runs across them. */
const PASS_BYTES = 2 * 2 ** 20;

/**
 * What rescaled rows differ from W by: c · (W + ΔW) − W with c = m / ‖W + ΔW‖, so that it is added as every ΔW is. The
 * norm is that of the unmerged base, as PEFT has it (lora/variants.py); what is rescaled is what adapters before this
 * one have made of W.
 */
export function magnitudeDeltas(inner: DeltaSource, layers: readonly MagnitudeLayer[]): DeltaSource {
  return {
    upload: async (gpu) => new MagnitudeDeltas(gpu, await inner.upload(gpu), layers),
    reference: async (index, factor, sample, weight) => {
      const { magnitude, conv1d } = layerAt(layers, index);
      const delta = (rows: readonly number[], cols: readonly number[]) =>
        inner.reference(index, factor, { rows, cols }, weight);
      return magnitudeReference({ magnitude: await magnitude(), conv1d, delta, weight }, sample);
    },
  };
}

/** A layer at work. */
interface Rescaled {
  readonly inner: LayerDelta;
  readonly out: number;
  readonly conv1d: boolean;
  readonly kernels: Kernels;
  readonly m: GpuBuffer;
  /** Σ (W + ΔW)² of the rows whose norms are known. */
  readonly sums: GpuBuffer;
  /** c of those rows. */
  readonly factors: GpuBuffer;
}

type Kernels = ReadonlyMap<string, Kernel>;

/** The same on the GPU. */
export class MagnitudeDeltas implements DeltasOnGpu {
  readonly #gpu: Gpu;
  readonly #inner: DeltasOnGpu;
  readonly #layers: readonly MagnitudeLayer[];
  readonly #staging: Staging;
  readonly #nothing: GpuBuffer;

  constructor(gpu: Gpu, inner: DeltasOnGpu, layers: readonly MagnitudeLayer[], staging: Staging = defaultStaging(gpu)) {
    this.#gpu = gpu;
    this.#inner = inner;
    this.#layers = layers;
    this.#staging = staging;
    this.#nothing = gpu.memory.allocate("nothing", 16);
  }

  async layer(index: number, factor: number, weight: StoredWeight): Promise<LayerDelta> {
    const { out, conv1d, magnitude } = layerAt(this.#layers, index);
    const [numbers, kernels] = await Promise.all([magnitude(), this.#compile(weight.dtype)]);
    const inner = await this.#inner.layer(index, factor, weight);
    const held: GpuBuffer[] = [];
    const keep = (buffer: GpuBuffer): GpuBuffer => {
      held.push(buffer);
      return buffer;
    };
    const release = () => {
      inner.release();
      for (const buffer of held) this.#gpu.memory.release(buffer);
    };
    try {
      const vector = (label: string) => keep(this.#gpu.memory.allocate(label, padded4(out) * 4));
      const m = keep(uploaded(this.#gpu, "magnitude", numbers));
      const layer = { inner, out, conv1d, kernels, m, sums: vector("squares"), factors: vector("factors") };
      if (conv1d) await this.#columnFactors(layer, weight);
      return { form: (stream, block) => this.#form(stream, layer, block), release };
    } catch (thrown) {
      release();
      throw thrown;
    }
  }

  release(): void {
    this.#inner.release();
    this.#gpu.memory.release(this.#nothing);
  }

  /** The kernels for a weight of this dtype. */
  async #compile(dtype: KernelDtype): Promise<Kernels> {
    const sources = [
      rowSquaresKernel(this.#staging, dtype),
      columnSquaresKernel(dtype),
      rescaleKernel(dtype),
      MAGNITUDE_KERNEL,
    ];
    const compiled = await Promise.all(sources.map((source) => this.#gpu.pipelines.get(source)));
    return new Map(compiled.map((kernel) => [kernel.key, kernel]));
  }

  /** Records c · (W + ΔW) − W of a block, added to what the block holds or assigned. */
  #form(stream: Stream, layer: Rescaled, block: WeightBlock): void {
    const { inner, conv1d, factors } = layer;
    const { firstRow, rows, cols, pitch, target, weight, onto, accumulate = false } = block;
    // The norm asks for this adapter's ΔW alone.
    const alone = accumulate ? block.scratch() : target;
    inner.form(stream, { ...block, target: alone, accumulate: false });
    const nothing = this.#nothing;
    if (!conv1d) {
      const rowsOfW = { binding: weight.buffer, at: 0, pitch, dtype: weight.dtype };
      const delta = { binding: alone, at: 0, pitch };
      const sums = { binding: layer.sums, at: firstRow };
      dispatch(stream, layer, rowSquares(this.#staging, { rows, cols, weight: rowsOfW, delta, sums, nothing }));
      this.#factors(stream, layer, firstRow, rows);
    }
    const of = {
      rows,
      cols,
      pitch,
      weight: onto,
      delta: accumulate ? alone : undefined,
      factors: { binding: factors, at: conv1d ? 0 : firstRow },
      columns: conv1d,
      target,
      nothing,
    };
    dispatch(stream, layer, rescaling(this.#gpu, of));
  }

  /** Where W is stored (in, out) a norm runs across all of its rows: they are read once before anything is merged. */
  async #columnFactors(layer: Rescaled, weight: StoredWeight): Promise<void> {
    const { rows, cols, dtype } = weight;
    const { memory } = this.#gpu;
    const size = dtypeBytes(dtype);
    const pitch = padded4(cols);
    const step = Math.max(1, Math.floor(PASS_BYTES / (pitch * 4) / BLOCK_ROWS)) * BLOCK_ROWS;
    const most = Math.min(step, rows) * pitch;
    const [w, delta] = [memory.allocate("weight", most * size), memory.allocate("ΔW", most * 4)];
    try {
      for (let firstRow = 0; firstRow < rows; firstRow += step) {
        const count = Math.min(step, rows - firstRow);
        upload(this.#gpu, w, repitched(await weight.read(firstRow, count), count, cols * size, pitch * size));
        const stream = new Stream(this.#gpu);
        const known = { weight: { buffer: w, dtype }, onto: { buffer: w, dtype }, scratch: () => delta };
        layer.inner.form(stream, { firstRow, rows: count, cols, pitch, target: delta, ...known });
        const squares = {
          rows: count,
          cols,
          weight: { binding: w, at: 0, pitch, dtype },
          delta: { binding: delta, at: 0, pitch },
          sums: { binding: layer.sums, at: 0 },
          nothing: this.#nothing,
        };
        dispatch(stream, layer, columnSquares(squares, firstRow > 0));
        if (firstRow + count === rows) this.#factors(stream, layer, 0, cols);
        stream.submit();
        // The queue keeps what is uploaded until it is used.
        await this.#gpu.idle();
      }
    } finally {
      for (const buffer of [w, delta]) memory.release(buffer);
    }
  }

  /** c = m / √sums. */
  #factors(stream: Stream, layer: Rescaled, at: number, count: number): void {
    const { m, sums, factors } = layer;
    const vector = (binding: GpuBuffer) => ({ binding, at });
    dispatch(stream, layer, magnitudes("factor", count, vector(sums), vector(m), vector(factors)));
  }
}

function dispatch(stream: Stream, { kernels }: Rescaled, { source, parameters, buffers, workgroups }: Dispatch): void {
  const kernel = kernels.get(source.key);
  if (kernel === undefined) throw new Error(`${source.key} is not compiled`);
  stream.dispatch(kernel, parameters, buffers, workgroups);
}

function layerAt(layers: readonly MagnitudeLayer[], index: number): MagnitudeLayer {
  const layer = layers[index];
  if (layer === undefined) throw new RangeError(`layer ${index} of ${layers.length}`);
  return layer;
}
