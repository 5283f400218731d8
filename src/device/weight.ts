import type { KernelDtype } from "./dtype.ts";
import type { Tensor } from "./tensor.ts";

/** The dtype of a weight, which is any that checkpoints store but never token ids. */
export function weightDtype(op: string, { dtype, buffer }: Tensor): KernelDtype {
  if (dtype === "U32") throw new Error(`${op}: ${buffer.label} holds token ids, not numbers`);
  return dtype;
}
