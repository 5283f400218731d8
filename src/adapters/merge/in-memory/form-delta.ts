import type { Device } from "../../../compute/device/device.ts";
import { ownedBy } from "../../../compute/device/owned.ts";
import { BLOCK_ROWS, padded4 } from "../../../compute/device/families/delta.ts";
import type { AdaptedLayer } from "../../base/layers.ts";
import type { WeightRows } from "../../../compute/device/families/finish.ts";
import type { AdapterPlan, LayerDelta, StoredWeight } from "../../method/plan.ts";
import { RandloraError } from "../../../files/errors.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { type RowRange, storedWeight } from "../stored-weight.ts";
import type { LoadedAdapter } from "../loaded-adapter.ts";
import { fileSource } from "../plan.ts";
import type { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import { widenToF32 } from "../../../files/safetensors/numbers.ts";
import { dtypeBytes } from "../../../files/safetensors/dtype.ts";
import { repitched } from "../../../compute/tensor/repitch.ts";

/** Bytes of ΔW that are on the GPU at a time, roughly. */
const BLOCK_BYTES = 16 * 2 ** 20;

/** ΔW of one module as its weight is stored, row-major without gaps: the numbers that `merge` adds. */
export interface FormedDelta {
  readonly rows: number;
  readonly cols: number;
  readonly data: Float32Array<ArrayBuffer>;
}

/**
 * ΔW of the adapter's module `index`, in memory.
 *
 * @param checkpoint that it was fitted to; undefined: it was fitted to none
 * @throws RandloraError `numeric` where it is not finite; `file`, `memory`, `gpu`
 */
export async function formDelta(
  gpu: Device,
  { plan, deltas, factor }: LoadedAdapter,
  checkpoint: Checkpoint | undefined,
  index: number,
): Promise<FormedDelta> {
  const layer = plan.layers[index];
  if (layer === undefined) throw new RangeError(`layer ${index} of ${plan.layers.length}`);
  const [rows = 0, cols = 0] = layer.shape;
  const most = Math.max(1, Math.floor(BLOCK_BYTES / (padded4(cols) * 4 * BLOCK_ROWS))) * BLOCK_ROWS;
  const weight = weightOf(checkpoint, layer, rows, cols);
  const data = new Float32Array(rows * cols);
  const delta = await deltas.layer(index, factor, weight);
  try {
    for (let firstRow = 0; firstRow < rows; firstRow += most) {
      const count = Math.min(most, rows - firstRow);
      const block = { firstRow, rows: count, cols };
      const formed = await formRows(gpu, delta, block, plan.rescales === true ? weight : undefined);
      data.set(formed, firstRow * cols);
    }
  } finally {
    delta.release();
  }
  if (data.every(Number.isFinite)) return { rows, cols, data };
  const hint = "its parameters are too large for f32, or damaged";
  throw new RandloraError("numeric", `${oneLine(plan.adapter.path)}: ΔW of ${quote(layer.module)} is not finite`, hint);
}

/** W of the adapter's module `index`, as {@link formDelta} has ΔW. @throws RandloraError `file` */
export async function readWeight(checkpoint: Checkpoint, plan: AdapterPlan, index: number): Promise<FormedDelta> {
  const layer = plan.layers[index];
  if (layer === undefined) throw new RangeError(`layer ${index} of ${plan.layers.length}`);
  const [rows = 0, cols = 0] = layer.shape;
  const weight = weightOf(checkpoint, layer, rows, cols);
  const data = new Float32Array(rows * cols);
  widenToF32(await weight.read(0, rows), weight.dtype, data);
  return { rows, cols, data };
}

/** The weight that ΔW belongs to; zeros where the adapter was fitted to no base, and so asks for none. */
function weightOf(
  checkpoint: Checkpoint | undefined,
  { source }: AdaptedLayer,
  rows: number,
  cols: number,
): StoredWeight {
  if (checkpoint === undefined) {
    return { rows, cols, dtype: "F32", read: async (_, count) => new Uint8Array(count * cols * 4) };
  }
  const { file, info } = checkpoint.get(source);
  return storedWeight(fileSource(file, info), rows, cols);
}

/**
 * Forms a block of rows, and reads it without gaps.
 * @param weight for methods that rescale it
 */
export async function formRows(
  gpu: Device,
  delta: LayerDelta,
  block: RowRange & { readonly cols: number },
  weight?: StoredWeight,
): Promise<Float32Array<ArrayBuffer>> {
  const { firstRow, rows, cols } = block;
  const pitch = padded4(cols);
  using owner = new DisposableStack();
  const { memory } = ownedBy(owner, gpu);
  const target = memory.allocate("ΔW", rows * pitch * 4);
  let onto: WeightRows = { buffer: target, dtype: "F32" };
  if (weight !== undefined) {
    const size = dtypeBytes(weight.dtype);
    const bytes = repitched(await weight.read(firstRow, rows), rows, cols * size, pitch * size);
    onto = { buffer: memory.allocate("weight", bytes.length), dtype: weight.dtype };
    gpu.write(onto.buffer, bytes);
  }
  using run = new Run(gpu);
  const scratch = () => memory.allocate("ΔW of one", rows * pitch * 4);
  delta.form(run, { ...block, pitch, target, weight: onto, onto, scratch });
  await run.submit();
  const range = { buffer: target, offset: 0, size: rows * pitch * 4 };
  return await gpu.readWith([range], async ([bytes = new Uint8Array()]) => {
    // A copy: what is read is gone once this has settled.
    return new Float32Array(repitched(bytes, rows, pitch * 4, cols * 4).slice().buffer);
  });
}
