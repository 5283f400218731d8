import { basesCount } from "../../bases/bases.ts";
import { type BilinearShape, bilinearShape } from "../bilinear/shape.ts";

/**
 * The sizes of a module whose ΔW is (out, in), with bases of rank r: B̂ (M, n·r) along its longer side, A (r, m) and γ
 * (n, m) along the shorter one, n = ⌈m/r⌉ (PEFT, tuners/randlora/layer.py).
 */
export function randloraShape(out: number, input: number, r: number): BilinearShape {
  return bilinearShape({ out, in: input, r, bases: basesCount(Math.min(out, input), r), tall: out >= input });
}

/** Numbers in λ (r, n) and γ (n, m) of a module. */
export function trainedNumbers(out: number, input: number, r: number): number {
  const { bases, cols } = randloraShape(out, input, r);
  return bases * (r + cols);
}
