import { RandloraError } from "../../files/errors.ts";
import { dtypeBytes, isFloat, isWritableFloat } from "../../files/safetensors/dtype.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { itemAt } from "../../files/item-at.ts";
import { shapeElements } from "../../files/safetensors/header.ts";
import { mapValues } from "../../files/map-values.ts";
import { widenToF32 } from "../../files/safetensors/numbers.ts";
import type { Adapter, AdapterTensor } from "./adapter.ts";

/** Throws `RandloraError` "adapter" for a trained tensor that does not hold floating-point numbers. */
export function requireFloats(adapter: Adapter, { name, dtype }: AdapterTensor): void {
  if (isWritableFloat(dtype)) return;
  const cause = `tensor ${quote(name)} is ${dtype}, not a floating type`;
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, "save the adapter in f32");
}

/** Up to `count` elements of a tensor from `first` on, widened; fewer at the end. */
export async function readF32(
  tensor: AdapterTensor,
  first: number,
  count = Infinity,
): Promise<Float32Array<ArrayBuffer>> {
  const { dtype, shape, name } = tensor;
  if (!isFloat(dtype)) throw new TypeError(`${name} is ${dtype}`);
  const size = dtypeBytes(dtype);
  const values = new Float32Array(Math.min(count, shapeElements(shape) - first));
  const bytes = new Uint8Array(values.length * size);
  await tensor.read(bytes, first * size);
  widenToF32(bytes, dtype, values);
  return values;
}

/**
 * Elements of a trained tensor as f32: all of them, or `count` from `first` on.
 * Throws `RandloraError` "numeric" naming the tensor that holds NaN or infinity.
 */
export async function readValues(
  adapter: Adapter,
  tensor: AdapterTensor,
  first = 0,
  count?: number,
): Promise<Float32Array<ArrayBuffer>> {
  const values = await readF32(tensor, first, count);
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

/** Told of each reason for which an adapter cannot be applied, by those who look at its files all the same. */
export type Tolerate = (problem: RandloraError) => void;

/** What `work` gives; undefined where it throws a `RandloraError` and somebody tolerates that. */
export function tolerating<T>(tolerate: Tolerate | undefined, work: () => T): T | undefined {
  try {
    return work();
  } catch (thrown) {
    return tolerated(tolerate, thrown);
  }
}

/** Tells of what was thrown, or throws it on. */
export function tolerated(tolerate: Tolerate | undefined, thrown: unknown): undefined {
  if (tolerate === undefined || !(thrown instanceof RandloraError)) throw thrown;
  tolerate(thrown);
}
