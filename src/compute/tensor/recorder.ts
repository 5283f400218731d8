import type { Of, Roles } from "./roles.ts";
import type { Op, Run, TapeNode } from "./run.ts";
import type { Shape, Tensor, TensorDtype } from "./tensor.ts";

/**
 * What a forward pass is written against: a `Run` computes it, a `Tape` computes it and can go back. Memory is dealt
 * with in the same way: whoever is done with a tensor releases it, and a tape keeps what its backward pass reads.
 */
export interface Recorder {
  /** Where kernels go that are no op of the registry; what they computed is then told to `record`. */
  readonly run: Run;
  /** Steps may be differentiated: ops without a derivative would cut them off from what is watched. */
  readonly differentiates: boolean;
  /** Records an op and returns its outputs; see `Run.apply`. */
  apply<I extends Roles, A, O extends Roles>(
    op: Op<I, A, O>,
    inputs: Of<I, Tensor>,
    attributes: A,
    into?: { readonly [K in keyof O]?: Tensor },
  ): Of<O, Tensor>;
  /** A matrix with undefined content; see `Run.allocate`. */
  allocate(label: string, shape: Shape, dtype?: TensorDtype): Tensor;
  /** A matrix with these values; see `Run.upload`. */
  upload(label: string, shape: Shape, data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): Tensor;
  /** Says that the forward pass is done with these tensors. */
  release(...tensors: readonly Tensor[]): void;
  /** Notes how kernels that have been recorded into `run` are differentiated. */
  record(node: TapeNode): void;
  /**
   * Records a part of the forward pass. A tape that saves memory keeps nothing of it but `inputs`, and records it again
   * in its backward pass (Chen et al., arXiv:1604.06174). `record` returns the tensors that are used outside, does not
   * release its inputs, and does the same each time; other tensors that it reads live until the backward pass is over.
   */
  segment<const T extends readonly Tensor[]>(inputs: readonly Tensor[], record: (recorder: Recorder) => T): T;
}
