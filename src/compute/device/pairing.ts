/**
 * Which row of Ŝ, λ[k, j]·A[k]⊙γ[j], meets which column of B̂: the rule stands here and, for kernels, in pairing.wgsl.
 * `peft`: those with the same flat index, so row q = k·n + j meets B's column q = j'·r + k'. `paper`: q = j·r + k,
 * base with base: equation 4, Σ_j B_j Λ_j A Γ_j.
 */
export type Pairing = "peft" | "paper";

/** Elements of λ (r, n) in the order of q: how far apart neighbors in k, and in j, are. */
export function pairingStrides(pairing: Pairing, r: number, n: number): { readonly k: number; readonly j: number } {
  return pairing === "peft" ? { k: n, j: 1 } : { k: 1, j: r };
}

/** The row k of A and the row j of γ that make row q of Ŝ. */
export function pairOf(pairing: Pairing, q: number, r: number, n: number): { readonly k: number; readonly j: number } {
  const [slow, fast] = pairing === "peft" ? [Math.floor(q / n), q % n] : [Math.floor(q / r), q % r];
  return pairing === "peft" ? { k: slow, j: fast } : { k: fast, j: slow };
}

/** Rows of the operand whose row changes with every q: γ's, or A's. */
export function fastRows(pairing: Pairing, r: number, n: number): number {
  return pairing === "peft" ? n : r;
}
