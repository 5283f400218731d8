import type { ModuleShape } from "./shape.ts";

/**
 * In which order the products of an adapted layer are formed. `factored`: y and dx go through Ŝ and B̂ one after the
 * other, as in PEFT. `merged-…`: they go through W' = W + ΔW. The gradient dŜ comes from H = big·B̂ as Hᵀ·small
 * (`factored`, `merged-h`), or from G = bigᵀ·small as B̂ᵀ·G (`merged-g`).
 */
export type Order = "factored" | "merged-h" | "merged-g";

/** An order with what is held in memory for it. */
export interface OrderPlan {
  readonly order: Order;
  /** Merged: W' is formed once a step and held; otherwise in the forward and again in the backward pass. */
  readonly kept: boolean;
  /** `merged-g`: G is summed over the micro-batches of a step, in a buffer of its own for each module. */
  readonly summed: boolean;
}

/** How much is computed in a step. */
export interface StepSize {
  /** Tokens of a micro-batch. */
  readonly tokens: number;
  /** Micro-batches of a step. */
  readonly microBatches: number;
  /** Is anything dropped? Then y = xWᵀ + drop(x)·ΔWᵀ, and ΔW itself is formed where W' would be. */
  readonly dropout: boolean;
  /** The share of B̂'s elements that kernels multiply by: 1 unless they skip zeros. */
  readonly density: number;
}

/**
 * Floating-point operations that a step needs for one module beside the frozen layer's 4TMm a micro-batch: two a
 * multiplication. Elementwise work is not counted.
 */
export function adapterFlops({ rows, cols }: ModuleShape, plan: OrderPlan, step: StepSize): number {
  const { tokens, microBatches, dropout, density } = step;
  const bigProduct = 2 * tokens * rows * cols;
  const smallProduct = 2 * tokens * cols * cols;
  const basisProduct = 2 * rows * cols * cols * density;
  if (plan.order === "factored") return microBatches * (2 * bigProduct * density + 3 * smallProduct);
  const formed = (plan.kept ? 1 : 2 * microBatches) * basisProduct;
  const applied = dropout ? microBatches * 2 * bigProduct : 0;
  const gradient =
    plan.order === "merged-h"
      ? microBatches * (bigProduct * density + smallProduct)
      : microBatches * bigProduct + (plan.summed ? 1 : microBatches) * basisProduct;
  return formed + applied + gradient;
}
