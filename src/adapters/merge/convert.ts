import { type Dtype, dtypeBytes, type FloatDtype, isFloat, isWritableFloat } from "../../files/safetensors/dtype.ts";
import { countNotFinite, countOverflows, divergedTensor, overflow } from "./finite.ts";
import { roundFromF32, roundFromF64, widenToF32, widenToF64 } from "../../files/safetensors/numbers.ts";
import type { TensorSource } from "./plan.ts";

/** Elements that are converted at a time. */
const PORTION = 1 << 20;

/**
 * A source's elements in another dtype, rounded once, portion by portion; the bytes as they are when the dtypes agree.
 * Integers and BOOL are never converted: a checkpoint's counters stay what they are.
 * @throws RandloraError `numeric` naming file and tensor when finite values overflow `target`, or when an adapter's
 *   own tensor holds NaN or infinity; what the base holds already passes through
 */
export async function convertTensor(
  source: TensorSource,
  target: Dtype,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const from = source.dtype;
  const count = source.bytes / dtypeBytes(from);
  for (let start = 0; start < count; start += PORTION) {
    const length = Math.min(PORTION, count - start);
    const bytes = new Uint8Array(length * dtypeBytes(from));
    await source.read(bytes, start * dtypeBytes(from));
    await write(isFloat(from) ? convertBytes(source, from, bytes, target) : bytes);
  }
}

/**
 * Elements of `source` in another dtype, rounded once; the very same bytes where nothing is to be done or checked.
 * @param from the dtype of `bytes`, which a merge may have widened
 * @throws RandloraError `numeric` as `convertTensor`
 */
export function convertBytes(source: TensorSource, from: FloatDtype, bytes: Uint8Array, target: Dtype): Uint8Array {
  if (from === target && !source.fromAdapter) return bytes;
  const length = bytes.length / dtypeBytes(from);
  const values = from === "F64" ? new Float64Array(length) : new Float32Array(length);
  if (values instanceof Float64Array) widenToF64(bytes, from, values);
  else widenToF32(bytes, from, values);
  const bad = source.fromAdapter ? countNotFinite(values) : 0;
  if (bad > 0) throw divergedTensor(source, bad);
  if (from === target) return bytes;
  if (!isWritableFloat(target)) throw new TypeError(`${source.label}: ${from} cannot become ${target}`);
  const tooLarge = countOverflows(values, target);
  if (tooLarge > 0) throw overflow(source, tooLarge, target);
  const out = new Uint8Array(length * dtypeBytes(target));
  if (values instanceof Float64Array) roundFromF64(values, target, out);
  else roundFromF32(values, target, out);
  return out;
}
