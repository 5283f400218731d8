// DoRA's magnitudes: sums of squares of W + Δ, norms of rows and what follows from them.
import { lanesBefore, MOST_TERMS, sumOf } from "./lanes";
import { ColumnSquares, Magnitudes, Rescale, RowSquares } from "./parameters";
import { BF16, F16, F32, Format, load4, rounded4, storedBytes } from "./stored";

export function rowSquares(p: RowSquares, piece: u32, scratch: usize): void {
  if (p.dtype == Format.F32) squaresOfRows<F32>(p, piece);
  else if (p.dtype == Format.F16) squaresOfRows<F16>(p, piece);
  else squaresOfRows<BF16>(p, piece);
}

export function columnSquares(p: ColumnSquares, piece: u32, scratch: usize): void {
  if (p.dtype == Format.F32) squaresOfColumns<F32>(p, piece, scratch);
  else if (p.dtype == Format.F16) squaresOfColumns<F16>(p, piece, scratch);
  else squaresOfColumns<BF16>(p, piece, scratch);
}

/** Four neighbors in a row, squared. */
// @ts-ignore: decorator
@inline
function squares<T>(weight: usize, delta: usize, col: u32): v128 {
  let value = load4<T>(weight + storedBytes<T>(col));
  if (delta) value = f32x4.add(value, v128.load(delta + col * 4));
  return f32x4.mul(value, value);
}

function squaresOfRows<T>(p: RowSquares, piece: u32): void {
  const lastRow = min((piece + 1) * p.pieceSize, p.rows);
  const whole = p.cols & ~3;
  for (let row = piece * p.pieceSize; row < lastRow; row++) {
    const weight = p.weight + row * p.weightPitch;
    const delta = p.delta ? p.delta + row * p.deltaPitch : 0;
    let total = f32x4.splat(0);
    for (let first: u32 = 0; first < whole; first += MOST_TERMS * 4) {
      const stop = min(first + MOST_TERMS * 4, whole);
      let sum = f32x4.splat(0);
      for (let col = first; col < stop; col += 4) sum = f32x4.add(sum, squares<T>(weight, delta, col));
      total = f32x4.add(total, sum);
    }
    if (whole < p.cols) {
      const inside = lanesBefore(<i32>whole, <i32>p.cols);
      total = f32x4.add(total, v128.and(inside, squares<T>(weight, delta, whole)));
    }
    store<f32>(p.sums + row * 4, sumOf(total));
  }
}

function squaresOfColumns<T>(p: RowSquares, piece: u32, scratch: usize): void {
  const firstCol = piece * p.pieceSize;
  const cols = min(p.pieceSize, p.cols - firstCol);
  const width = ((cols + 3) & ~3) * 4;
  const sums = scratch;
  const totals = scratch + width;
  memory.fill(totals, 0, width);
  for (let first: u32 = 0; first < p.rows; first += MOST_TERMS) {
    memory.fill(sums, 0, width);
    for (let row = first; row < min(first + MOST_TERMS, p.rows); row++) {
      const weight = p.weight + row * p.weightPitch + storedBytes<T>(firstCol);
      const delta = p.delta ? p.delta + row * p.deltaPitch + firstCol * 4 : 0;
      for (let col: u32 = 0; col < cols; col += 4) {
        const at = sums + col * 4;
        v128.store(at, f32x4.add(v128.load(at), squares<T>(weight, delta, col)));
      }
    }
    for (let at: usize = 0; at < width; at += 16) {
      v128.store(totals + at, f32x4.add(v128.load(totals + at), v128.load(sums + at)));
    }
  }
  for (let col: u32 = 0; col < cols; col++) {
    const to = p.sums + (firstCol + col) * 4;
    const total = load<f32>(totals + col * 4);
    store<f32>(to, p.accumulate ? load<f32>(to) + total : total);
  }
}

const FACTOR: u32 = 0;
const NORM: u32 = 2;

export function magnitudes(p: Magnitudes, piece: u32, scratch: usize): void {
  for (let at: usize = 0; at < p.count * 4; at += 4) {
    const norm = sqrt<f32>(load<f32>(p.sums + at));
    if (p.kind == NORM) {
      let value = f32x4.splat(norm);
      if (p.dtype == Format.F16) value = rounded4<F16>(value);
      else if (p.dtype == Format.BF16) value = rounded4<BF16>(value);
      store<f32>(p.to + at, f32x4.extract_lane(value, 0));
      continue;
    }
    const quotient: f32 = norm == 0 ? 0 : load<f32>(p.from + at) / norm;
    if (p.kind == FACTOR) {
      store<f32>(p.to + at, quotient);
    } else {
      store<f32>(p.to + at, load<f32>(p.to + at) + quotient);
      store<f32>(p.from + at, 0);
    }
  }
}

export function rescale(p: Rescale, piece: u32, scratch: usize): void {
  if (p.dtype == Format.F32) rescaleRows<F32>(p, piece);
  else if (p.dtype == Format.F16) rescaleRows<F16>(p, piece);
  else rescaleRows<BF16>(p, piece);
}

function rescaleRows<T>(p: Rescale, piece: u32): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  const one = f32x4.splat(1);
  for (let row = piece * p.pieceRows; row < last; row++) {
    const weight = p.weight + row * p.weightPitch;
    const target = p.target + row * p.targetPitch;
    const delta = p.delta + row * p.targetPitch;
    let c = f32x4.splat(p.columns ? 0 : load<f32>(p.factors + row * 4));
    for (let vector: u32 = 0; vector < p.width; vector++) {
      const at = vector * 16;
      if (p.columns) c = v128.load(p.factors + at);
      let change = v128.load(target + at);
      if (p.delta) change = f32x4.add(change, v128.load(delta + at));
      const w = load4<T>(weight + storedBytes<T>(vector * 4));
      v128.store(target + at, f32x4.add(f32x4.mul(f32x4.sub(c, one), w), f32x4.mul(c, change)));
    }
  }
}
