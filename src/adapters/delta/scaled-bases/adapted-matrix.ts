import type { Tensor } from "../../../compute/tensor/tensor.ts";
import type { OrderPlan } from "./flops.ts";
import type { TrainedModule } from "./module.ts";
import type { BilinearShape } from "./shape.ts";

/** One adapted module within the matrix that the decoder multiplies with. */
export interface AdaptedPart {
  readonly module: TrainedModule;
  readonly shape: BilinearShape;
  /** Its first row of the matrix: its first column of y. */
  readonly first: number;
  /** Among all modules of the adapter: what its dropout mask is drawn by. */
  readonly index: number;
  /** ΔW where it is held and something is dropped; W' has its rows otherwise. */
  readonly delta: Tensor | undefined;
  /** G, where it is summed over micro-batches. */
  readonly product: Tensor | undefined;
}

/** A matrix some of whose rows are adapted. */
export interface AdaptedMatrix {
  /** The frozen W (out, in), as the decoder multiplies with it. */
  readonly weight: Tensor;
  /** In the order of their rows. */
  readonly parts: readonly AdaptedPart[];
  readonly plan: OrderPlan;
  /** W' where it is held through a step. */
  readonly merged: Tensor | undefined;
}
