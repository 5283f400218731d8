import { basesCount } from "../frozen/drawing/bases.ts";
import { type BilinearShape, bilinearShape } from "../delta/scaled-bases/shape.ts";

/**
 * How many bases of rank r a module uses whose shorter side is m: n = ⌈m/r⌉, all that span it (PEFT,
 * tuners/randlora/layer.py), or with `half` ⌈m/2r⌉ (arXiv:2502.00987, table 3, RandLoRA-b). They are the first ones.
 */
export function moduleBases(m: number, r: number, half: boolean): number {
  return basesCount(m, half ? 2 * r : r);
}

/**
 * The sizes of a module whose ΔW is (out, in), with bases of rank r: B̂ (M, n·r) along its longer side, A (r, m) and γ
 * (n, m) along the shorter one.
 * @param half see {@link moduleBases}
 */
export function randloraShape(out: number, input: number, r: number, half = false): BilinearShape {
  const bases = moduleBases(Math.min(out, input), r, half);
  return bilinearShape({ out, in: input, r, bases, tall: out >= input });
}

/** Numbers in λ (r, n) and γ (n, m) of a module. */
export function trainedNumbers(out: number, input: number, r: number, half = false): number {
  const { bases, cols } = randloraShape(out, input, r, half);
  return bases * (r + cols);
}
