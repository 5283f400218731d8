import { isBlockDtype, type KernelDtype, type StoredDtype } from "./dtype.ts";
import type { Tensor } from "./tensor.ts";

/** The format of a weight, which is any but that of token ids. */
export function storedDtype(op: string, { dtype, buffer }: Tensor): StoredDtype {
  if (dtype === "U32") throw new Error(`${op}: ${buffer.label} holds token ids, not numbers`);
  return dtype;
}

/** The dtype of a weight that is not stored in blocks. */
export function weightDtype(op: string, tensor: Tensor): KernelDtype {
  const dtype = storedDtype(op, tensor);
  if (isBlockDtype(dtype)) throw new Error(`${op}: ${tensor.buffer.label} is quantized`);
  return dtype;
}
