import type { TensorReader } from "../files/safetensors/checkpoint.ts";
import { dtypeBytes } from "../files/safetensors/dtype.ts";
import { transpose } from "../files/safetensors/transpose.ts";

/**
 * A checkpoint whose tensor `name`, a matrix, is read as its transpose, all of it when it is first read. Blocks are those of
 * the transpose already.
 */
export function withTransposed(checkpoint: TensorReader, name: string): TensorReader {
  const stored = checkpoint.get(name);
  const { shape, dtype } = stored.info;
  const [rows = 0, cols = 0] = shape;
  const size = dtypeBytes(dtype);
  let turned: Uint8Array | undefined;
  const whole = async () => {
    const bytes = new Uint8Array(rows * cols * size);
    await checkpoint.read(name, bytes);
    return transpose(bytes, rows, cols, size);
  };
  const own = { ...stored, info: { ...stored.info, shape: [cols, rows] } };
  return {
    folder: checkpoint.folder,
    tensors: new Map([[name, own]]),
    get: () => own,
    read: async (_, out, start = 0) => out.set((turned ??= await whole()).subarray(start, start + out.length)),
    readBlocks: (_, out, start) => checkpoint.readBlocks(name, out, start),
  };
}
