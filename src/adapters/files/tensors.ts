import type { Dtype } from "../../files/safetensors/dtype.ts";
import type { SafetensorsFile } from "../../files/safetensors/file.ts";
import { shapeElements, type TensorInfo } from "../../files/safetensors/header.ts";
import type { AdapterTensor } from "./adapter.ts";

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
