import { MOST_TERMS } from "./lanes";
import { StridedSums } from "./parameters";
import { BF16, F16, F32, Format, load1, load4, storedBytes } from "./stored";

export function stridedSums(p: StridedSums, piece: u32, scratch: usize): void {
  if (!p.w) sumsOf<F32>(p, piece, false);
  else if (p.dtype == Format.F32) sumsOf<F32>(p, piece, true);
  else if (p.dtype == Format.F16) sumsOf<F16>(p, piece, true);
  else sumsOf<BF16>(p, piece, true);
}

// @ts-ignore: decorator
@inline
function sumsOf<T>(p: StridedSums, piece: u32, weighted: bool): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  const xTerm = storedBytes<T>(p.xTerm);
  const wTerm = p.wTerm * 4;
  const scale = f32x4.splat(p.scale);
  const whole = p.xCol == 1 && p.wCol <= 1 ? p.cols & ~3 : 0;
  for (let row = piece * p.pieceRows; row < last; row++) {
    const y = p.y + row * p.yPitch;
    const xRow = p.x + storedBytes<T>(row * p.xRow);
    const wRow = p.w + row * p.wRow * 4;
    for (let col: u32 = 0; col < whole; col += 4) {
      let x = xRow + storedBytes<T>(col);
      let w = wRow + col * p.wCol * 4;
      let total = f32x4.splat(0);
      for (let first: u32 = 0; first < p.terms; first += MOST_TERMS) {
        let sum = f32x4.splat(0);
        for (let term = first; term < min(first + MOST_TERMS, p.terms); term++) {
          let value = load4<T>(x);
          if (weighted) value = f32x4.mul(value, p.wCol ? v128.load(w) : v128.load32_splat(w));
          sum = f32x4.add(sum, value);
          x += xTerm;
          w += wTerm;
        }
        total = f32x4.add(total, sum);
      }
      total = f32x4.mul(scale, total);
      v128.store(y + col * 4, p.accumulate ? f32x4.add(total, v128.load(y + col * 4)) : total);
    }
    for (let col = whole; col < p.cols; col++) {
      let x = xRow + storedBytes<T>(col * p.xCol);
      let w = wRow + col * p.wCol * 4;
      let total: f32 = 0;
      for (let first: u32 = 0; first < p.terms; first += MOST_TERMS) {
        let sum: f32 = 0;
        for (let term = first; term < min(first + MOST_TERMS, p.terms); term++) {
          sum += weighted ? load1<T>(x) * load<f32>(w) : load1<T>(x);
          x += xTerm;
          w += wTerm;
        }
        total += sum;
      }
      total *= p.scale;
      store<f32>(y + col * 4, p.accumulate ? total + load<f32>(y + col * 4) : total);
    }
    if (!p.accumulate) for (let col = p.cols; (col & 3) != 0; col++) store<f32>(y + col * 4, 0);
  }
}
