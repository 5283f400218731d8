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
