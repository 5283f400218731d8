// λ, A and γ as products take them.
import { lanesBefore } from "./lanes";
import { LambdaOrder, ScaledA } from "./parameters";

export function lambdaOrder(p: LambdaOrder, piece: u32, scratch: usize): void {
  for (let q: u32 = 0; q < p.terms; q++) {
    const from = p.lambda + (q / p.fast) * p.slowBytes + (q % p.fast) * p.fastBytes;
    store<f32>(p.target + q * 4, load<f32>(from));
  }
  memory.fill(p.target + p.terms * 4, 0, (p.padded - p.terms) * 4);
}

export function scaledA(p: ScaledA, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.terms);
  const whole = (p.cols & ~3) * 4;
  for (let q = piece * p.pieceRows; q < last; q++) {
    const k = p.peft ? q / p.bases : q % p.rank;
    const j = p.peft ? q % p.bases : q / p.rank;
    const a = p.a + k * p.aPitch;
    const gamma = p.gamma + j * p.gammaPitch;
    const target = p.target + q * p.targetPitch;
    const lambda = f32x4.splat(load<f32>(p.lambda + k * p.lambdaPitch + j * 4));
    for (let at: u32 = 0; at < whole; at += 16) {
      const product = f32x4.mul(v128.load(a + at), v128.load(gamma + at));
      v128.store(target + at, f32x4.mul(lambda, product));
    }
    if (whole < p.targetPitch) {
      // A may be wider than the module, so its padding is not zero.
      const product = f32x4.mul(v128.load(a + whole), v128.load(gamma + whole));
      v128.store(target + whole, v128.and(lanesBefore(0, <i32>(p.cols & 3)), f32x4.mul(lambda, product)));
    }
  }
}
