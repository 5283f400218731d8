import { dtypeBytes } from "../../../files/safetensors/dtype.ts";
import { itemAt } from "../../../files/item-at.ts";
import type {
  AdapterPlan,
  DeltaSample,
  DeltaSource,
  LayerDelta,
  SampledWeight,
  StoredWeight,
  WeightBlock,
} from "../../method/plan.ts";
import type { Device, DeviceBuffer } from "../../../compute/device/device.ts";
import { BLOCK_ROWS, padded4 } from "../../../compute/device/families/delta.ts";
import type { WeightRows } from "../../../compute/device/families/finish.ts";
import type { Staging } from "../../../compute/device/staging.ts";
import { uploaded } from "../../../compute/device/transfer.ts";
import { repitched } from "../../../compute/tensor/repitch.ts";
import { Run } from "../../../compute/tensor/run.ts";
import type { Tensor } from "../../../compute/tensor/tensor.ts";
import { readValues } from "../../files/tensors.ts";
import { deltaSource, weightRows } from "../on-device.ts";
import { findMagnitudes, type MagnitudeName } from "./vectors.ts";

/** A rescaled layer, in f64. */
interface RescaledReference {
  /** m (out). */
  readonly magnitude: ArrayLike<number>;
  readonly conv1d: boolean;
  /** ΔW at rows of (out, in), and columns of it, row-major. */
  delta(rows: readonly number[], cols: readonly number[]): Promise<Float64Array>;
  readonly weight: SampledWeight;
}

/** c · (onto + ΔW) − onto with c = m / ‖W + ΔW‖, at a sample of (out, in), row-major. A row of zeros stays one. */
async function magnitudeReference(
  { magnitude, conv1d, delta, weight }: RescaledReference,
  { rows, cols }: DeltaSample,
): Promise<Float64Array> {
  const input = conv1d ? weight.rows : weight.cols;
  const whole = Array.from({ length: input }, (_, col) => col);
  const { onto } = weight;
  const change = new Float64Array(rows.length * cols.length);
  const before = await weightRows(weight, rows, conv1d);
  const added = await delta(rows, whole);
  for (const [i, row] of rows.entries()) {
    let squares = 0;
    for (let k = i * input; k < (i + 1) * input; k++) squares += (itemAt(before, k) + itemAt(added, k)) ** 2;
    const factor = squares === 0 ? 0 : itemAt(magnitude, row) / Math.sqrt(squares);
    for (const [j, col] of cols.entries()) {
      const at = i * cols.length + j;
      const old = itemAt(onto, at);
      change[at] = factor * (old + itemAt(added, i * input + col)) - old;
    }
  }
  return change;
}

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
  return deltaSource(layers, {
    share: (gpu, staging) => inner.upload(gpu, staging),
    async place({ out, conv1d, magnitude }, shared, { gpu, staging, owner, index, factor, weight }) {
      const [numbers] = await Promise.all([magnitude(), gpu.prepare("magnitudes", { dtype: weight.dtype })]);
      const delta = await shared.layer(index, factor, weight);
      owner.defer(() => delta.release());
      const vector = (label: string) => gpu.memory.allocate(label, padded4(out) * 4);
      const m = uploaded(gpu, "magnitude", numbers);
      const layer = { inner: delta, out, conv1d, m, sums: vector("squares"), factors: vector("factors") };
      if (conv1d) await columnFactors(gpu, staging, layer, weight);
      return (run, block) => form(run, layer, block);
    },
    async reference({ magnitude, conv1d }, { index, factor, sample, weight }) {
      const delta = (rows: readonly number[], cols: readonly number[]) =>
        inner.reference(index, factor, { rows, cols }, weight);
      return magnitudeReference({ magnitude: await magnitude(), conv1d, delta, weight }, sample);
    },
  });
}

/** A layer at work. */
interface Rescaled {
  readonly inner: LayerDelta;
  readonly out: number;
  readonly conv1d: boolean;
  readonly m: DeviceBuffer;
  /** Σ (W + ΔW)² of the rows whose norms are known. */
  readonly sums: DeviceBuffer;
  /** c of those rows. */
  readonly factors: DeviceBuffer;
}

/** Records c · (W + ΔW) − W of a block, added to what the block holds or assigned. */
function form(run: Run, layer: Rescaled, block: WeightBlock): void {
  const { inner, conv1d, factors } = layer;
  const { firstRow, rows, cols, pitch, target, weight, onto, accumulate = false } = block;
  // The norm asks for this adapter's ΔW alone.
  const alone = accumulate ? block.scratch() : target;
  inner.form(run, { ...block, target: alone, accumulate: false });
  const matrix = ({ buffer, dtype }: WeightRows): Tensor => ({
    shape: [rows, cols],
    dtype,
    buffer,
    offset: 0,
    pitch,
  });
  const delta = matrix({ buffer: alone, dtype: "F32" });
  if (!conv1d) {
    run.compute("rowSquares", { weight: matrix(weight), delta, sums: vectorOf(layer.sums, firstRow, rows) });
    recordFactors(run, layer, firstRow, rows);
  }
  run.compute("rescale", {
    weight: matrix(onto),
    delta: accumulate ? delta : undefined,
    factors: conv1d ? vectorOf(factors, 0, cols) : vectorOf(factors, firstRow, rows),
    columns: conv1d,
    target: matrix({ buffer: target, dtype: "F32" }),
  });
}

/** Where W is stored (in, out) a norm runs across all of its rows: they are read once before anything is merged. */
async function columnFactors(gpu: Device, staging: Staging, layer: Rescaled, weight: StoredWeight): Promise<void> {
  const { rows, cols, dtype } = weight;
  const { memory } = gpu;
  const size = dtypeBytes(dtype);
  const pitch = padded4(cols);
  const step = Math.max(1, Math.floor(PASS_BYTES / (pitch * 4) / BLOCK_ROWS)) * BLOCK_ROWS;
  const most = Math.min(step, rows) * pitch;
  const [w, delta] = [memory.allocate("weight", most * size), memory.allocate("ΔW", most * 4)];
  try {
    for (let firstRow = 0; firstRow < rows; firstRow += step) {
      const count = Math.min(step, rows - firstRow);
      gpu.write(w, repitched(await weight.read(firstRow, count), count, cols * size, pitch * size));
      using run = new Run(gpu, staging);
      const known = { weight: { buffer: w, dtype }, onto: { buffer: w, dtype }, scratch: () => delta };
      layer.inner.form(run, { firstRow, rows: count, cols, pitch, target: delta, ...known });
      const shape = [count, cols] as const;
      run.compute("columnSquares", {
        weight: { shape, dtype, buffer: w, offset: 0, pitch },
        delta: { shape, dtype: "F32", buffer: delta, offset: 0, pitch },
        sums: vectorOf(layer.sums, 0, cols),
        accumulate: firstRow > 0,
      });
      if (firstRow + count === rows) recordFactors(run, layer, 0, cols);
      await run.submit();
      // The queue keeps what is uploaded until it is used.
      await gpu.idle();
    }
  } finally {
    for (const buffer of [w, delta]) memory.release(buffer);
  }
}

/** c = m / √sums. */
function recordFactors(run: Run, { m, sums, factors }: Rescaled, at: number, count: number): void {
  const [of, from, to] = [sums, m, factors].map((buffer) => vectorOf(buffer, at, count)) as [Tensor, Tensor, Tensor];
  run.compute("magnitudes", { kind: "factor", sums: of, from, to, dtype: "F32" });
}

function vectorOf(buffer: DeviceBuffer, offset: number, count: number): Tensor {
  return { shape: [1, count], dtype: "F32", buffer, offset, pitch: padded4(count) };
}

/**
 * An adapter whose rows are rescaled to magnitudes of their own (DoRA; Liu et al., arXiv:2402.09353, equation 5):
 * W' = m / ‖W + ΔW‖ · (W + ΔW), the norms of rows (out, in) of the unmerged base.
 * @param inner the same adapter without them
 * @throws RandloraError `format`, `adapter` where the magnitudes do not fit the layers
 */
export function withMagnitudes(inner: AdapterPlan, name: MagnitudeName): AdapterPlan {
  const { adapter, layers } = inner;
  const vectors = findMagnitudes(adapter, layers, name);
  const modules = layers.map(({ out, conv1d }, index) => {
    return { out, conv1d, magnitude: () => readValues(adapter, itemAt(vectors, index)) };
  });
  return {
    ...inner,
    rescales: true,
    // PEFT's lora/variants.py, merge_unsafe: c · (W + ΔW) in f32, rounded once.
    roundsDelta: false,
    load: async (signal) => magnitudeDeltas(await inner.load(signal), modules),
  };
}
