import { BLOCK_ROWS } from "../adapters/bilinear/delta-block.ts";
import { padded4 } from "../adapters/bilinear/delta-dispatch.ts";
import type { AdapterPlan, DeltasOnGpu, StoredWeight } from "../adapters/plan.ts";
import { RandloraError } from "../errors.ts";
import { oneLine, quote } from "../files/failure.ts";
import { dtypeBytes } from "../safetensors/dtype.ts";
import { repitched } from "../tensor/repitch.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { GpuBuffer } from "../gpu/memory.ts";
import { Stream } from "../gpu/stream.ts";
import { readWith, upload } from "../gpu/transfer.ts";

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
 * @param path names the adapter in messages
 * @param weight W, which a method may rescale
 * @throws RandloraError `numeric` where it is not finite; `file`, `memory`, `gpu`
 */
export async function formDelta(
  gpu: Gpu,
  deltas: DeltasOnGpu,
  { layers, rescales = false }: Pick<AdapterPlan, "layers" | "rescales">,
  index: number,
  path: string,
  weight: StoredWeight,
): Promise<FormedDelta> {
  const layer = layers[index];
  if (layer === undefined) throw new RangeError(`layer ${index} of ${layers.length}`);
  const [rows = 0, cols = 0] = layer.shape;
  const pitch = padded4(cols);
  const most = Math.max(1, Math.floor(BLOCK_BYTES / (pitch * 4 * BLOCK_ROWS))) * BLOCK_ROWS;
  const data = new Float32Array(rows * cols);
  await using held = new AsyncDisposableStack();
  const allocate = (label: string, bytes: number): GpuBuffer => {
    const buffer = gpu.memory.allocate(label, bytes);
    held.defer(() => gpu.memory.release(buffer));
    return buffer;
  };
  const target = allocate("ΔW", Math.min(most, rows) * pitch * 4);
  const delta = await deltas.layer(index, 1, weight);
  held.defer(() => delta.release());
  const size = dtypeBytes(weight.dtype);
  const own = rescales ? allocate("W", Math.min(most, rows) * pitch * size) : target;
  const scratch = rescales ? allocate("scratch", Math.min(most, rows) * pitch * 4) : target;
  for (let firstRow = 0; firstRow < rows; firstRow += most) {
    const count = Math.min(most, rows - firstRow);
    if (rescales) upload(gpu, own, repitched(await weight.read(firstRow, count), count, cols * size, pitch * size));
    const stream = new Stream(gpu);
    const onto = { buffer: own, dtype: weight.dtype };
    delta.form(stream, { firstRow, rows: count, pitch, target, cols, weight: onto, onto, scratch: () => scratch });
    stream.submit();
    await readWith(gpu, [{ buffer: target, offset: 0, size: count * pitch * 4 }], async ([bytes]) => {
      const block = new Float32Array(bytes?.buffer ?? new ArrayBuffer(), bytes?.byteOffset, count * pitch);
      for (let row = 0; row < count; row++) {
        data.set(block.subarray(row * pitch, row * pitch + cols), (firstRow + row) * cols);
      }
    });
  }
  if (data.every(Number.isFinite)) return { rows, cols, data };
  const hint = "its parameters are too large for f32, or damaged";
  throw new RandloraError("numeric", `${oneLine(path)}: ΔW of ${quote(layer.module)} is not finite`, hint);
}
