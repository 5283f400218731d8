import { type Shape, type Tensor, tensorBytes, type TensorDtype, tensorIn } from "../device/tensor.ts";
import type { Dispatcher } from "./dispatcher.ts";

/** A matrix with undefined content, for the commands of one family. */
export function takeScratch({ memory }: Dispatcher, label: string, shape: Shape, dtype: TensorDtype = "F32"): Tensor {
  return tensorIn(memory.allocate(label, tensorBytes(shape, dtype)), shape, dtype);
}

/** Lets later commands of the recording use the memory of these. */
export function giveScratch({ memory }: Dispatcher, ...tensors: readonly Tensor[]): void {
  for (const { buffer } of tensors) memory.release(buffer);
}
