// Gradients of λ and γ without dŜ = PᵀQ ever being stored: some rows and columns of it at a time are folded into partial sums,
//
//   dλ[k, j] = Σ_c dŜ[q, c] · A[k, c] · γ[j, c]        dγ[j, c] = Σ_k dŜ[q, c] · λ[k, j] · A[k, c].
import { sumOf } from "./lanes";
import { BasisGradient } from "./parameters";

/** Folds rows of dŜ that follow on those before them into the partial sums of a piece; of the first ones there is nothing before. */
export function foldRows(p: BasisGradient, piece: u32, row: u32, rows: u32, slopes: usize): void {
  const slice = piece / p.blocks;
  const block = piece % p.blocks;
  const firstCol = block * p.blockCols;
  const bytes = ((min(p.blockCols, p.cols - firstCol) + 3) & ~3) * 4;
  const gammaParts = p.gammaParts + slice * p.bases * p.partPitch + firstCol * 4;
  const lambdaParts = p.lambdaParts + block * p.rows * 4;
  if (row == slice * p.sliceRows) {
    for (let j: u32 = 0; j < p.bases; j++) memory.fill(gammaParts + j * p.partPitch, 0, bytes);
  }
  for (let i: u32 = 0; i < rows; i++) {
    const q = row + i;
    const k = p.peft ? q / p.bases : q % p.rank;
    const j = p.peft ? q % p.bases : q / p.rank;
    const sums = slopes + i * p.blockCols * 4;
    const a = p.a + k * p.aPitch + firstCol * 4;
    const gamma = p.gamma + j * p.gammaPitch + firstCol * 4;
    const part = gammaParts + j * p.partPitch;
    const lambda = f32x4.splat(load<f32>(p.lambda + k * p.lambdaPitch + j * 4));
    let sum = f32x4.splat(0);
    for (let at: usize = 0; at < bytes; at += 16) {
      const scaled = f32x4.mul(v128.load(sums + at), v128.load(a + at));
      sum = f32x4.add(sum, f32x4.mul(scaled, v128.load(gamma + at)));
      v128.store(part + at, f32x4.add(v128.load(part + at), f32x4.mul(lambda, scaled)));
    }
    store<f32>(lambdaParts + q * 4, sumOf(sum));
  }
}
