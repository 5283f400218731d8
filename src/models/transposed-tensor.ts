import type { TensorReader } from "../files/safetensors/checkpoint.ts";
import { dtypeBytes } from "../files/safetensors/dtype.ts";
import { transpose } from "../files/safetensors/transpose.ts";

/**
 * A checkpoint whose tensor `name`, a matrix, is read as its transpose; it is in memory as a whole. Blocks are those of the
 * transpose already.
 */
export async function withTransposed(checkpoint: TensorReader, name: string): Promise<TensorReader> {
  const stored = checkpoint.get(name);
  const { shape, dtype } = stored.info;
  const [rows = 0, cols = 0] = shape;
  const bytes = new Uint8Array(rows * cols * dtypeBytes(dtype));
  await checkpoint.read(name, bytes);
  const turned = transpose(bytes, rows, cols, dtypeBytes(dtype));
  const own = { ...stored, info: { ...stored.info, shape: [cols, rows] } };
  return {
    folder: checkpoint.folder,
    tensors: new Map([[name, own]]),
    get: () => own,
    read: async (_, out, start = 0) => out.set(turned.subarray(start, start + out.length)),
    readBlocks: (_, out, start) => checkpoint.readBlocks(name, out, start),
  };
}
