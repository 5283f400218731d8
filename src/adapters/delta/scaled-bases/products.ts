import { recordGemm } from "../../../compute/tensor/gemm.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { sliceCols, type Tensor, tensorIn } from "../../../compute/tensor/tensor.ts";
import type { AdaptedPart } from "./adapted-matrix.ts";
import type { AdapterContext } from "./context.ts";

/** Records h = big·B̂ in units of B̂: big (tokens, M), h (tokens, n·r). */
export function recordIntoBasis(run: Run, context: AdapterContext, part: AdaptedPart, big: Tensor, h: Tensor): void {
  const { bases, workspace } = context;
  for (const { first, operand: b } of bases.operands(run, part.shape, workspace.find("panel"))) {
    const a = sliceCols(big, first, b.shape[0]);
    recordGemm(run, { order: "NN", a, b, y: h, accumulate: first > 0 });
  }
}

/** Records y (+)= scale · h·B̂ᵀ in true values: h (tokens, n·r), y (tokens, M). */
export function recordOutOfBasis(
  run: Run,
  context: AdapterContext,
  part: AdaptedPart,
  h: Tensor,
  y: Tensor,
  accumulate: boolean,
): void {
  const { bases, workspace } = context;
  const scale = context.scale * bases.unit;
  for (const { first, operand: b } of bases.operands(run, part.shape, workspace.find("panel"))) {
    const columns = sliceCols(y, first, b.shape[0]);
    recordGemm(run, { order: "NT", a: h, b, y: columns, scale, accumulate });
  }
}

/** Records Ŝ (n·r, m) into scratch: λ[k, j]·A[k]⊙γ[j] in the row that meets B̂'s column. */
export function recordScaledA(run: Run, { bases, workspace }: AdapterContext, { module, shape }: AdaptedPart): Tensor {
  const { terms, cols } = shape;
  const { lambda, gamma } = module;
  const target = workspace.get("scaledA");
  run.compute("scaledA", { pairing: bases.pairing, terms, cols, a: bases.a, lambda, gamma, target });
  return tensorIn(target, [terms, cols], "F32");
}
