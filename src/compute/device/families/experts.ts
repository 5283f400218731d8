import type { Tensor } from "../tensor.ts";
import type { Gemm } from "./products.ts";

/**
 * The weights of the experts that each token goes to: the softmax of its logits, over all experts or over those chosen; or the
 * logistic function of each logit, divided by the sum of those chosen where it is among them. The experts of a token differ from
 * each other.
 */
export interface RouterWeights {
  readonly amongChosen: boolean;
  readonly logistic: boolean;
  /** (tokens, experts) F32. */
  readonly logits: Tensor;
  /** (tokens, chosen) U32, below the number of experts. */
  readonly experts: Tensor;
  /** (tokens, chosen) F32. */
  readonly y: Tensor;
}

/** ∂loss/∂logits of that, assigned. */
export interface RouterWeightsGradient extends Omit<RouterWeights, "y"> {
  readonly dy: Tensor;
  readonly dlogits: Tensor;
}

/**
 * The rows in which pairs of a token and one of its experts stand when they are ordered by expert, then by token: the pairs
 * of expert e take rows begins[e] … begins[e + 1] − 1.
 */
export interface ExpertRows {
  /** (tokens, chosen) U32. */
  readonly experts: Tensor;
  /** (tokens, chosen) U32: the row of each pair. */
  readonly places: Tensor;
  /** (1, experts + 1) U32. */
  readonly begins: Tensor;
}

/** y[places[t, i]] = scale · factors[t, i] · x[t]; factors of 1 by default. */
export interface SpreadRows {
  readonly x: Tensor;
  /** (rows of x, each) U32, all different, below the rows of y. */
  readonly places: Tensor;
  readonly factors: Tensor | undefined;
  readonly scale: number;
  readonly y: Tensor;
}

/** y[t] = scale · Σᵢ factors[t, i] · x[places[t, i]] + residual[t], in the order of i; factors of 1 by default. */
export interface MixRows extends SpreadRows {
  readonly residual: Tensor | undefined;
}

/** y[t, i] = scale · dy[t] · x[places[t, i]]: the gradient of the factors of `MixRows`. */
export interface MixFactors extends Omit<SpreadRows, "factors"> {
  readonly dy: Tensor;
}

/**
 * Products of groups of rows, each with a matrix of its own; those lie one below the other in `b`, in TN in `y`. Group g has rows
 * begins[g] … begins[g + 1] − 1 of a and of y (in TN of a and of b).
 */
export interface GroupedGemm extends Pick<Gemm, "order" | "a" | "y"> {
  /**
   * NT: (groups · N, K), y = a b_gᵀ. NN: (groups · K, N), y = a b_g. TN: (rows, N), y_g (groups · M, N) += a_gᵀ b_g. In any
   * stored format, in TN F32.
   */
  readonly b: Tensor;
  /** (1, groups + 1) U32, ascending from 0 to the rows of a. */
  readonly begins: Tensor;
  /** As of `Linear`. */
  readonly rowsAtMost?: number | undefined;
}

/** y[r] = x[r] + the bias of r's group, as `GroupedGemm` has groups of rows. */
export interface GroupBias extends GroupSums {
  /** (1, groups · cols) F32: that of each group behind the one before. */
  readonly bias: Tensor;
  /** Of the shape of x. */
  readonly y: Tensor;
}

/** Σ x over the rows of each group. */
export interface GroupSums {
  /** (rows, cols) F32. */
  readonly x: Tensor;
  readonly begins: Tensor;
  /** (1, groups · cols) F32, assigned. */
  readonly y: Tensor;
}
