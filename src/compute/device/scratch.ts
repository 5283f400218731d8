import type { RunMemory } from "./run-memory.ts";
import { type Shape, type Tensor, tensorBytes, type TensorDtype, tensorIn } from "./tensor.ts";

/** What families record into, as far as scratch goes. */
interface Scratch {
  readonly memory: RunMemory;
}

/** A matrix with undefined content, for the commands of one family. */
export function takeScratch({ memory }: Scratch, label: string, shape: Shape, dtype: TensorDtype = "F32"): Tensor {
  return tensorIn(memory.allocate(label, tensorBytes(shape, dtype)), shape, dtype);
}

/** Lets later commands of the recording use the memory of these. */
export function giveScratch({ memory }: Scratch, ...tensors: readonly Tensor[]): void {
  for (const { buffer } of tensors) memory.release(buffer);
}
