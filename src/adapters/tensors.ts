import type { Dtype } from "../safetensors/dtype.ts";
import type { SafetensorsFile } from "../safetensors/file.ts";
import type { TensorInfo } from "../safetensors/header.ts";
import type { AdapterTensor } from "./types.ts";

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
