import { SCALED_A_WIDTH, scaledAKernel, scaledAParameters } from "../../../kernels/scaled-a.ts";
import { recordGemm } from "../../../tensor/gemm.ts";
import type { Run } from "../../../tensor/run.ts";
import { pitchOf, sliceCols, type Tensor, tensorIn } from "../../../tensor/tensor.ts";
import type { AdaptedPart } from "./adapted-matrix.ts";
import type { AdapterContext } from "./context.ts";
import { bind } from "../../../tensor/row-blocks.ts";

/** Records h = big·B̂ in units of B̂: big (tokens, M), h (tokens, n·r). */
export function recordIntoBasis(run: Run, context: AdapterContext, part: AdaptedPart, big: Tensor, h: Tensor): void {
  const { bases, workspace } = context;
  for (const { first, tensor } of bases.rows(run, part.shape, workspace.find("panel"))) {
    const a = sliceCols(big, first, tensor.shape[0]);
    recordGemm(run, { order: "NN", a, b: tensor, y: h, accumulate: first > 0 });
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
  for (const { first, tensor } of bases.rows(run, part.shape, workspace.find("panel"))) {
    const columns = sliceCols(y, first, tensor.shape[0]);
    recordGemm(run, { order: "NT", a: h, b: tensor, y: columns, scale, accumulate });
  }
}

/** Records Ŝ (n·r, m) into scratch: λ[k, j]·A[k]⊙γ[j] in the row that meets B̂'s column. */
export function recordScaledA(run: Run, { bases, workspace }: AdapterContext, { module, shape }: AdaptedPart): Tensor {
  const { terms, cols } = shape;
  const { lambda, gamma } = module;
  const width = pitchOf(cols, "F32") / 4;
  const buffer = workspace.get("scaledA");
  const [l, g] = [bind(run, lambda), bind(run, gamma)];
  run.dispatch(
    scaledAKernel(bases.pairing),
    scaledAParameters({
      rows: terms,
      width,
      cols,
      bases: shape.bases,
      rank: shape.r,
      aPitch: bases.a.pitch / 4,
      gamma: [g.offset / 4, gamma.pitch / 4],
      lambda: [l.offset, lambda.pitch],
    }),
    [bases.a.buffer, l.binding, g.binding, { of: buffer, offset: 0, size: terms * width * 16 }],
    [Math.ceil(width / SCALED_A_WIDTH), terms],
  );
  return tensorIn(buffer, [terms, cols], "F32");
}
