import { RandloraError } from "../../files/errors.ts";
import { dtypeBytes, isFloat, isWritableFloat } from "../../files/safetensors/dtype.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { itemAt } from "../../files/item-at.ts";
import { mapValues } from "../../files/map-values.ts";
import { widenToF32 } from "../../files/safetensors/numbers.ts";
import type { Adapter, AdapterTensor } from "../adapter.ts";

/** Throws `RandloraError` "adapter" for a trained tensor that does not hold floating-point numbers. */
export function requireFloats(adapter: Adapter, { name, dtype }: AdapterTensor): void {
  if (isWritableFloat(dtype)) return;
  const cause = `tensor ${quote(name)} is ${dtype}, not a floating type`;
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, "save the adapter in f32");
}

/**
 * Elements of a trained tensor as f32: all of them, or `count` from `first` on.
 * Throws `RandloraError` "numeric" naming the tensor that holds NaN or infinity.
 */
export async function readValues(
  adapter: Adapter,
  tensor: AdapterTensor,
  first = 0,
  count = tensor.shape.reduce((product, size) => product * size, 1) - first,
): Promise<Float32Array<ArrayBuffer>> {
  if (!isFloat(tensor.dtype)) throw new TypeError(`${tensor.name} is ${tensor.dtype}`);
  const size = dtypeBytes(tensor.dtype);
  const bytes = new Uint8Array(count * size);
  await tensor.read(bytes, first * size);
  const values = new Float32Array(count);
  widenToF32(bytes, tensor.dtype, values);
  const bad = values.find((value) => !Number.isFinite(value));
  if (bad === undefined) return values;
  throw new RandloraError(
    "numeric",
    `${oneLine(adapter.file)}: tensor ${quote(tensor.name)} holds ${bad}`,
    "the training diverged: use an earlier save",
  );
}

/** All elements of several trained tensors. @throws RandloraError as {@link readValues} */
export async function readAllValues<K extends string>(
  adapter: Adapter,
  tensors: Readonly<Record<K, AdapterTensor>>,
): Promise<Record<K, Float32Array<ArrayBuffer>>> {
  const list = Object.values<AdapterTensor>(tensors);
  const values = await Promise.all(list.map((tensor) => readValues(adapter, tensor)));
  return mapValues(tensors, (tensor) => itemAt(values, list.indexOf(tensor)));
}
