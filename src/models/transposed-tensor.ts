import type { TensorReader } from "../files/safetensors/checkpoint.ts";
import { dtypeBytes } from "../files/safetensors/dtype.ts";
import { transpose } from "../files/safetensors/transpose.ts";
import { turned } from "./tensor-plan.ts";

/**
 * A checkpoint whose tensor `name`, one matrix or several, is read as its transpose, a matrix at a time. Blocks are those of the
 * transpose already.
 */
export function withTransposed(checkpoint: TensorReader, name: string): TensorReader {
  const stored = checkpoint.get(name);
  const { shape, dtype } = stored.info;
  const [rows = 0, cols = 0] = shape.slice(-2);
  const size = dtypeBytes(dtype);
  const each = rows * cols * size;
  // The matrix that was read last.
  let held: { readonly at: number; readonly bytes: Uint8Array } | undefined;
  const matrix = async (at: number) => {
    if (held?.at === at) return held.bytes;
    const bytes = new Uint8Array(each);
    await checkpoint.read(name, bytes, at * each);
    held = { at, bytes: transpose(bytes, rows, cols, size) };
    return held.bytes;
  };
  const own = { ...stored, info: { ...stored.info, shape: turned(shape) } };
  return {
    folder: checkpoint.folder,
    tensors: new Map([[name, own]]),
    get: () => own,
    async read(_, out, start = 0) {
      for (let filled = 0; filled < out.length;) {
        const at = Math.floor((start + filled) / each);
        const from = start + filled - at * each;
        const part = (await matrix(at)).subarray(from, from + out.length - filled);
        out.set(part, filled);
        filled += part.length;
      }
    },
    readBlocks: (_, out, start) => checkpoint.readBlocks(name, out, start),
  };
}
