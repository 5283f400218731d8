import { dtypeBytes, isFloat, isWritableFloat, type Dtype } from "../safetensors/dtype.ts";
import { roundFromF32, roundFromF64, widenToF32, widenToF64 } from "../safetensors/numbers.ts";
import type { TensorSource } from "./plan.ts";

/** Elements that are converted at a time. */
const PORTION = 1 << 20;

/**
 * A source's elements in another dtype, rounded once, portion by portion; the bytes as they are when the dtypes agree.
 * Integers and BOOL are never converted: a checkpoint's counters stay what they are.
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
    await write(from === target ? bytes : convertBytes(bytes, from, target, length));
  }
}

function convertBytes(bytes: Uint8Array, from: Dtype, target: Dtype, length: number): Uint8Array {
  if (!isFloat(from) || !isWritableFloat(target)) throw new TypeError(`${from} cannot become ${target}`);
  const out = new Uint8Array(length * dtypeBytes(target));
  if (from === "F64") {
    const values = new Float64Array(length);
    widenToF64(bytes, from, values);
    roundFromF64(values, target, out);
  } else {
    const values = new Float32Array(length);
    widenToF32(bytes, from, values);
    roundFromF32(values, target, out);
  }
  return out;
}
