import { MOST_TERMS } from "./lanes";
import { PartialSums } from "./parameters";

export function partialSums(p: PartialSums, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  const stride = p.partStride * 4;
  const step = p.colStride * 4;
  for (let row = piece * p.pieceRows; row < last; row++) {
    const from = p.partial + row * p.rowStride * 4;
    const to = p.target + row * p.targetPitch;
    const whole = p.colStride == 1 ? p.cols & ~3 : 0;
    for (let col: u32 = 0; col < whole; col += 4) {
      let total = f32x4.splat(0);
      for (let first: u32 = 0; first < p.parts; first += MOST_TERMS) {
        let sum = f32x4.splat(0);
        for (let part = first; part < min(first + MOST_TERMS, p.parts); part++) {
          sum = f32x4.add(sum, v128.load(from + col * 4 + part * stride));
        }
        total = f32x4.add(total, sum);
      }
      v128.store(to + col * 4, f32x4.add(v128.load(to + col * 4), f32x4.mul(f32x4.splat(p.scale), total)));
    }
    for (let col = whole; col < p.cols; col++) {
      let total: f32 = 0;
      for (let first: u32 = 0; first < p.parts; first += MOST_TERMS) {
        let sum: f32 = 0;
        for (let part = first; part < min(first + MOST_TERMS, p.parts); part++) {
          sum += load<f32>(from + col * step + part * stride);
        }
        total += sum;
      }
      store<f32>(to + col * 4, load<f32>(to + col * 4) + p.scale * total);
    }
  }
}
