import type { BilinearShape } from "./shape.ts";
import type { Tensor } from "../../../compute/tensor/tensor.ts";

/**
 * One module under training: where its weight lies, its parameters and where their gradients are summed. All four
 * tensors are F32 with rows padded to whole vectors, and may be views of larger buffers at multiples of 64 elements.
 */
export interface TrainedModule {
  /** The module's dotted path, as adapters name it. */
  readonly name: string;
  /** W (out, in) as stored: whole rows of the matrix that the decoder multiplies with, which fills its buffer. */
  readonly weight: Tensor;
  readonly shape: BilinearShape;
  /** λ (r, n). */
  readonly lambda: Tensor;
  /** γ (n, cols). */
  readonly gamma: Tensor;
  /** ∂loss/∂λ, which every micro-batch is added to. */
  readonly lambdaGradient: Tensor;
  /** ∂loss/∂γ, which every micro-batch is added to. */
  readonly gammaGradient: Tensor;
}
