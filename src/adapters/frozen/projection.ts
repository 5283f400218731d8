import type { SavedProjection } from "./drawing/saved.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { dtypeBytes } from "../../files/safetensors/dtype.ts";
import type { AdapterTensor } from "../files/adapter.ts";

/** A saved base as a matrix that is read in portions of rows. Throws `RandloraError` "adapter" for an odd dtype. */
export function toProjection(tensor: AdapterTensor, file: string): SavedProjection {
  const { dtype, shape, name } = tensor;
  if (dtype !== "F32" && dtype !== "F16" && dtype !== "BF16") {
    const cause = `tensor ${quote(name)} is ${dtype}, not F32, F16 or BF16`;
    throw new RandloraError("adapter", `${oneLine(file)}: ${cause}`, "save the adapter in f32");
  }
  const [rows = 0] = shape;
  const cols = shape.slice(1).reduce((product, size) => product * size, 1);
  const rowBytes = cols * dtypeBytes(dtype);
  return {
    name: `${oneLine(file)}: ${name}`,
    dtype,
    rows,
    cols,
    async read(row, count) {
      const bytes = new Uint8Array(count * rowBytes);
      await tensor.read(bytes, row * rowBytes);
      return bytes;
    },
  };
}
