import { isBlockDtype, type KernelDtype, KV_DTYPES, type KvDtype, type StoredDtype } from "./dtype.ts";
import { fitsBlocks } from "./blocks.ts";
import type { Tensor } from "./tensor.ts";

/** The format of a weight, which is any but that of token ids. */
export function storedDtype(op: string, { dtype, buffer }: Tensor): StoredDtype {
  if (dtype === "U32") throw new Error(`${op}: ${buffer.label} holds token ids, not numbers`);
  if (dtype === "Q8_ROWS") throw new Error(`${op}: ${buffer.label} holds keys or values, not a weight`);
  return dtype;
}

/** What keys or values are held in; their blocks lie within heads. */
export function kvDtype(op: string, { dtype, buffer }: Tensor, headSize: number): KvDtype {
  const found = KV_DTYPES.find((known) => known === dtype);
  if (found === undefined) throw new Error(`${op}: ${buffer.label} holds no keys or values in ${dtype}`);
  if (found === "Q8_ROWS" && !fitsBlocks(headSize)) throw new Error(`${op}: heads of ${headSize} are no whole blocks`);
  return found;
}

/** The dtype of a weight that is not stored in blocks. */
export function weightDtype(op: string, tensor: Tensor): KernelDtype {
  const dtype = storedDtype(op, tensor);
  if (isBlockDtype(dtype)) throw new Error(`${op}: ${tensor.buffer.label} is quantized`);
  return dtype;
}
