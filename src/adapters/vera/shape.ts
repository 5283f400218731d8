import { type BilinearShape, bilinearShape } from "../delta/scaled-bases/shape.ts";

/**
 * The sizes of a module as VeRA has it (Kopiczko et al., arXiv:2310.11454): ΔW = diag(λ_b)·B·diag(λ_d)·A. Read from its
 * other side, ΔWᵀ = Aᵀ·diag(λ_d)·Bᵀ·diag(λ_b), it is one basis of bilinear/, whatever is larger: B̂ is Aᵀ (in, r), A is
 * Bᵀ (r, out), λ (r, 1) is λ_d, γ (1, out) is λ_b.
 */
export function veraShape(out: number, input: number, r: number): BilinearShape {
  return bilinearShape({ out, in: input, r, bases: 1, tall: false });
}

/** With one basis both pairings are the same; this one lets kernels read γ once and A row by row. */
export const VERA_PAIRING = "paper";

/** Numbers in λ_d (r) and λ_b (out) of a module. */
export function trainedNumbers(out: number, r: number): number {
  return r + out;
}
