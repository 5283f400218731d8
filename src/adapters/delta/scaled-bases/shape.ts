import type { ProductsPlan } from "../through-weights/held.ts";

/**
 * The sizes of one adapted module whose ΔW is scale · B̂ (rows, terms) · Ŝ (terms, cols), or the transpose of that, where
 * a row of Ŝ is λ[k, j]·A[k]⊙γ[j].
 */
export interface BilinearShape {
  /** ΔW is (out, in). */
  readonly out: number;
  readonly in: number;
  /** Rows of A: the rank of one basis. */
  readonly r: number;
  /** n: how many bases B̂ is made of, and rows of γ. */
  readonly bases: number;
  /** B̂'s rows run along the module's output, A's and γ's columns along its input. Otherwise the other way round. */
  readonly tall: boolean;
  readonly rows: number;
  readonly cols: number;
  /** n·r: columns of B̂, rows of Ŝ. */
  readonly terms: number;
}

/** Works out what follows from the others. */
export function bilinearShape(given: Pick<BilinearShape, "out" | "in" | "r" | "bases" | "tall">): BilinearShape {
  const { out, in: input, r, bases, tall } = given;
  return { ...given, rows: tall ? out : input, cols: tall ? input : out, terms: bases * r };
}

/**
 * In which order the products of an adapted layer are formed. `factored`: y and dx go through Ŝ and B̂ one after the
 * other, as in PEFT. `merged-…`: they go through W' = W + ΔW. The gradient dŜ comes from H = big·B̂ as Hᵀ·small
 * (`factored`, `merged-h`), or from G = bigᵀ·small as B̂ᵀ·G (`merged-g`).
 */
export const ORDER_NAMES = ["factored", "merged-h", "merged-g"] as const;

export type Order = (typeof ORDER_NAMES)[number];

/** An order with what is held in memory for it: W' of `merged-…`, G of `merged-g`. */
export interface OrderPlan extends ProductsPlan {
  readonly order: Order;
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
export function adapterFlops({ rows, cols, terms }: BilinearShape, plan: OrderPlan, step: StepSize): number {
  const { tokens, microBatches, dropout, density } = step;
  const whole = 2 * tokens * rows * cols; // with W', ΔW or G
  const basis = 2 * tokens * rows * terms * density; // with B̂
  const scaled = 2 * tokens * terms * cols; // with Ŝ, or to dŜ
  const both = 2 * rows * terms * cols * density; // B̂ with Ŝ or with G
  if (plan.order === "factored") return microBatches * (2 * basis + 3 * scaled);
  const formed = (plan.kept ? 1 : 2 * microBatches) * both;
  const applied = dropout ? 2 * whole : 0;
  const gradient = plan.order === "merged-h" ? basis + scaled : whole + (plan.summed ? 0 : both);
  return formed + microBatches * (applied + gradient) + (plan.summed ? both : 0);
}

/** The same by the cheapest order that holds W' through a step of one micro-batch. */
export function fewestFlops(shape: BilinearShape, tokens: number): number {
  const step = { tokens, microBatches: 1, dropout: false, density: 1 };
  return Math.min(...ORDER_NAMES.map((order) => adapterFlops(shape, { order, kept: true, summed: false }, step)));
}
