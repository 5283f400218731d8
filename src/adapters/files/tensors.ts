import { type Dtype, dtypeBytes, isFloat, isWritableFloat } from "../../files/safetensors/dtype.ts";
import type { SafetensorsFile } from "../../files/safetensors/file.ts";
import { shapeElements, type TensorInfo } from "../../files/safetensors/header.ts";
import type { AdapterTensor, Adapter } from "./adapter.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { itemAt } from "../../files/item-at.ts";
import { mapValues } from "../../files/map-values.ts";
import { widenToF32 } from "../../files/safetensors/numbers.ts";

/** A tensor whose bytes stay in the file until they are asked for. */
export function fileTensor(file: SafetensorsFile, info: TensorInfo, name: string): AdapterTensor {
  const { dtype, shape, bytes } = info;
  return {
    name,
    dtype,
    shape,
    bytes,
    read: (out, start) => file.read(info, out, start),
    readAll: () => file.readAll(info),
  };
}

/** A tensor whose bytes are in memory; they must not change any more. */
export function memoryTensor(name: string, dtype: Dtype, shape: readonly number[], data: Uint8Array): AdapterTensor {
  return {
    name,
    dtype,
    shape,
    bytes: data.length,
    async read(out, start = 0) {
      if (start < 0 || start + out.length > data.length) {
        throw new RangeError(`bytes ${start} to ${start + out.length} of ${name}, which has ${data.length}`);
      }
      out.set(data.subarray(start, start + out.length));
    },
    readAll: async () => new Uint8Array(data),
  };
}

/** A tensor of F32 whose elements are worked out when they are read: `fill` writes those from `first` on. */
export function computedTensor(
  name: string,
  shape: readonly number[],
  fill: (first: number, out: Float32Array<ArrayBuffer>) => void,
): AdapterTensor {
  const bytes = shapeElements(shape) * 4;
  const read = (out: Uint8Array, start = 0) => {
    if (start < 0 || start + out.length > bytes) throw new RangeError(`bytes of ${name} outside its ${bytes}`);
    // Whole elements that cover the bytes; little-endian, as every machine that this runs on.
    const first = Math.floor(start / 4);
    const values = new Float32Array(Math.ceil((start + out.length) / 4) - first);
    fill(first, values);
    out.set(new Uint8Array(values.buffer).subarray(start - first * 4, start - first * 4 + out.length));
    return Promise.resolve();
  };
  return {
    name,
    dtype: "F32",
    shape,
    bytes,
    read,
    async readAll() {
      const out = new Uint8Array(bytes);
      await read(out);
      return out;
    },
  };
}

/** Throws `RandloraError` "adapter" for a trained tensor that does not hold floating-point numbers. */
export function requireFloats(adapter: Adapter, { name, dtype }: AdapterTensor): void {
  if (isWritableFloat(dtype)) return;
  const cause = `tensor ${quote(name)} is ${dtype}, not a floating type`;
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, "save the adapter in f32");
}

/** Up to `count` elements of a tensor of floats or I32 from `first` on, in F32; fewer at the end. */
export async function readF32(
  tensor: AdapterTensor,
  first: number,
  count = Infinity,
): Promise<Float32Array<ArrayBuffer>> {
  const { dtype, shape, name } = tensor;
  if (!isFloat(dtype) && dtype !== "I32") throw new TypeError(`${name} is ${dtype}`);
  const size = dtypeBytes(dtype);
  const values = new Float32Array(Math.min(count, shapeElements(shape) - first));
  const bytes = new Uint8Array(values.length * size);
  await tensor.read(bytes, first * size);
  if (dtype === "I32") values.set(new Int32Array(bytes.buffer));
  else widenToF32(bytes, dtype, values);
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

/** What PEFT's own wrapper is called, beside the base's names below it. */
const WRAPPER = "base_model.";

/** A method, as far as it matters here: the names of tensors that all its layers share. */
interface Sharing {
  readonly shared: readonly string[];
}

/** PEFT's name of a tensor that all layers share; unlike every other's it begins with `base_model.` alone. */
export function sharedName(name: string): string {
  return WRAPPER + name;
}

/** Is this a shared tensor: the one, or a layer's copy of it? */
export function isShared(tensor: string, { shared }: Sharing): boolean {
  return shared.includes(tensor.slice(tensor.lastIndexOf(".") + 1));
}

/**
 * Leaves one of each shared tensor among those of a PEFT file, under its {@link sharedName}: the wrapper's, else the
 * first layer's. The copies are not read; their shapes must be the same.
 * Throws `RandloraError` "format" when they are not.
 */
export function shareTensors(tensors: readonly AdapterTensor[], method: Sharing, file: string): AdapterTensor[] {
  const kept = new Map<string, AdapterTensor>();
  for (const name of method.shared) {
    const copies = tensors.filter((tensor) => tensor.name === name || tensor.name.endsWith(`.${name}`));
    const one = copies.find((tensor) => tensor.name === name || tensor.name === sharedName(name)) ?? copies[0];
    if (one === undefined) continue;
    const other = copies.find(({ shape, dtype }) => String(shape) !== String(one.shape) || dtype !== one.dtype);
    if (other !== undefined) {
      const cause = `${quote(other.name)} and ${quote(one.name)} are ${describe(other)} and ${describe(one)}`;
      throw new RandloraError("format", `${oneLine(file)}: ${cause}`, "all layers must share one pair of bases");
    }
    kept.set(one.name, { ...one, name: sharedName(name) });
  }
  return tensors.flatMap((tensor) => (isShared(tensor.name, method) ? (kept.get(tensor.name) ?? []) : tensor));
}

/** A tensor's dtype and shape in words. */
export function describe({ dtype, shape }: AdapterTensor): string {
  return `${dtype} [${shape.join(", ")}]`;
}
