import type { ModuleShape } from "../../training/definition.ts";

/** Floating-point operations of a step with two factors beside each frozen matrix: y, ∂loss/∂x, and the factors' gradients. */
export function lowRankFlops(modules: readonly ModuleShape[], rank: number, tokens: number): number {
  return modules.reduce((sum, { out, in: input }) => sum + 6 * tokens * rank * (out + input), 0);
}
