import { RandloraError } from "../../files/errors.ts";
import { type Dtype, dtypeBytes, isFloat } from "../../files/safetensors/dtype.ts";
import { widenToF64 } from "../../files/safetensors/numbers.ts";
import type { TensorSource } from "./plan.ts";

/** Elements that are looked at at a time. */
const PORTION = 1 << 18;

/** The smallest magnitude that rounds to infinity: half a unit beyond the largest finite number. */
const OVERFLOWS: Readonly<Partial<Record<Dtype, number>>> = {
  F32: (2 - 2 ** -24) * 2 ** 127,
  F16: 65520,
  BF16: (2 - 2 ** -8) * 2 ** 127,
};

/** How many finite values become infinite in `target`. */
export function countOverflows(values: Float32Array | Float64Array, target: Dtype): number {
  const limit = OVERFLOWS[target] ?? Infinity;
  let count = 0;
  for (const value of values) if (Math.abs(value) >= limit && Number.isFinite(value)) count++;
  return count;
}

/** How many values are NaN or infinite. */
export function countNotFinite(values: Float32Array | Float64Array): number {
  let count = 0;
  for (const value of values) if (!Number.isFinite(value)) count++;
  return count;
}

/** Finite values of `source` that `dtype` cannot hold. */
export function overflow(source: Pick<TensorSource, "label">, count: number, dtype: Dtype): RandloraError {
  const cause = `${count} of its weights are too large for ${dtype}`;
  return new RandloraError("numeric", `${source.label}: ${cause}`, "give --dtype f32 (or bf16)");
}

/** Values of a tensor that an adapter brings along. */
export function divergedTensor(source: TensorSource, count: number): RandloraError {
  const hint = "the training diverged: use an earlier save";
  return new RandloraError("numeric", `${source.label}: ${count} of its values are NaN or infinite`, hint);
}

/**
 * Why `count` merged weights are not finite: the base's own were not, or the sum does not fit `target`. Reads the
 * source again, which only a merge that has failed pays for.
 */
export async function explainNotFinite(source: TensorSource, target: Dtype, count: number): Promise<RandloraError> {
  const before = await notFiniteIn(source);
  if (before > 0) {
    const hint = "the base is damaged: fetch the model again";
    return new RandloraError("numeric", `${source.label}: ${before} of its weights are NaN or infinite`, hint);
  }
  const cause = `with ΔW added, ${count} of its weights are too large for ${target}`;
  const hint = target === "F16" ? "give --dtype f32 (or bf16)" : "the training diverged: use an earlier save";
  return new RandloraError("numeric", `${source.label}: ${cause}`, hint);
}

async function notFiniteIn({ dtype, bytes, read }: TensorSource): Promise<number> {
  if (!isFloat(dtype)) return 0;
  const size = dtypeBytes(dtype);
  let count = 0;
  for (let start = 0; start < bytes / size; start += PORTION) {
    const length = Math.min(PORTION, bytes / size - start);
    const portion = new Uint8Array(length * size);
    await read(portion, start * size);
    const values = new Float64Array(length);
    widenToF64(portion, dtype, values);
    count += countNotFinite(values);
  }
  return count;
}
