import { fitsBlocks } from "../compute/device/blocks.ts";
import {
  type BlockDtype,
  isKernelDtype,
  type KernelDtype,
  type RoundedDtype,
  type StoredDtype,
} from "../compute/device/dtype.ts";
import type { TensorReader } from "../files/safetensors/checkpoint.ts";
import type { Shape, Tensor } from "../compute/tensor/tensor.ts";
import { matrixShape, type PlannedMatrix } from "./tensor-plan.ts";

/** How weights are held. */
export interface WeightOptions {
  /**
   * The dtype of matrices, of all or by their names in the checkpoint; by default that of the checkpoint. Where it is
   * one for all, norms and biases have the values that they would have in it.
   */
  readonly dtype?: KernelDtype | ((names: readonly string[]) => KernelDtype | undefined) | undefined;
  /**
   * The format of the weights of linear layers; embeddings and output matrices are in Q8_0 then. Those whose rows are no
   * whole blocks stay as the others are: norms and biases. Without it, and without `dtype`, matrices that are stored in
   * blocks stay in them.
   */
  readonly quantize?: RoundedDtype | undefined;
  /** Memory of the caller's own for matrices and vectors, F32: for those that are trained, undefined for others. */
  readonly place?: (label: string, shape: Shape) => Tensor | undefined;
}

/** The format of a matrix: the one dtype of its parts, F32 when they differ or have one that kernels do not read; or as asked. */
export function weightFormat(checkpoint: TensorReader, planned: PlannedMatrix, options: WeightOptions): StoredDtype {
  const { kind, parts } = planned;
  if (kind === "vector") return "F32";
  const quantized = fitsBlocks(matrixShape(planned)[1]) ? quantizedAs(kind, options) : undefined;
  if (quantized !== undefined) return quantized;
  const wanted = typeof options.dtype === "function" ? options.dtype(parts.map(({ name }) => name)) : options.dtype;
  if (wanted !== undefined) return wanted;
  const blocks = storedBlocks(checkpoint, planned);
  if (blocks !== undefined) return blocks;
  const [dtype = "", ...others] = new Set(parts.map(({ name }) => checkpoint.get(name).info.dtype));
  return others.length === 0 && isKernelDtype(dtype) ? dtype : "F32";
}

/** Tables are in Q8_0 whatever the layers are in, as each element of them is a logit's or a hidden state's own. */
function quantizedAs(kind: PlannedMatrix["kind"], { quantize }: WeightOptions): RoundedDtype | undefined {
  if (kind === "table") return quantize && "Q8_0";
  return kind === "linear" ? quantize : undefined;
}

/** The blocks that all parts of a matrix are stored in. */
function storedBlocks(checkpoint: TensorReader, { parts }: PlannedMatrix): BlockDtype | undefined {
  const [format, ...others] = new Set(parts.map(({ name }) => checkpoint.get(name).info.blocks?.dtype));
  return others.length === 0 ? format : undefined;
}
