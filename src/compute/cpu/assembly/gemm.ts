import { Gemm } from "./parameters";
import { columnRun, dots, RUN, RUN_TERMS, rowRun } from "./runs";
import { Format } from "./stored";

export function gemm(p: Gemm, piece: u32, scratch: usize): void {
  if (p.rows == 0) return;
  const firstRow = (piece / p.pieces) * p.pieceRows;
  const rows = min(p.pieceRows, p.rows - firstRow);
  const firstCol = (piece % p.pieces) * p.pieceCols;
  const cols = min(p.pieceCols, p.cols - firstCol);
  const pitch = <usize>((cols + 3) & ~3) * 4;
  const column = scratch + rows * RUN;
  const sums = column + RUN;
  for (let first: u32 = 0; first < p.terms; first += RUN_TERMS) {
    const terms = min(RUN_TERMS, p.terms - first);
    for (let row: u32 = 0; row < rows; row++) {
      const to = scratch + row * RUN;
      if (p.aTerms) columnRun(Format.F32, p.a + first * p.aPitch, p.aPitch, 0, 0, firstRow + row, terms, to);
      else rowRun(Format.F32, p.a + (firstRow + row) * p.aPitch, 0, first, terms, to);
    }
    for (let col: u32 = 0; col < cols; col++) {
      const at = firstCol + col;
      if (p.bTerms) {
        const scales = p.bScales + first * p.bScalesPitch;
        columnRun(p.bDtype, p.b + first * p.bPitch, p.bPitch, scales, p.bScalesPitch, at, terms, column);
      } else {
        rowRun(p.bDtype, p.b + at * p.bPitch, p.bScales + at * p.bScalesPitch, first, terms, column);
      }
      dots(scratch, rows, column, terms, sums + col * 4, pitch);
    }
    finish(p, firstRow, rows, firstCol, cols, first == 0, sums, pitch);
  }
}

/** Takes a block's sums over into y, whose padding within whole vectors becomes zero. */
function finish(
  p: Gemm, firstRow: u32, rows: u32, firstCol: u32, cols: u32, first: bool, sums: usize, pitch: usize,
): void {
  const scale = f32x4.splat(p.scale);
  const adds = !first || p.accumulate != 0;
  const bias = first ? p.bias : 0;
  const residual = first ? p.residual : 0;
  for (let row: u32 = 0; row < rows; row++) {
    const from = sums + row * pitch;
    for (let at: usize = cols; at & 3; at++) store<f32>(from + at * 4, 0);
    const y = p.y + (firstRow + row) * p.yPitch + firstCol * 4;
    for (let at: u32 = 0; at < cols; at += 4) {
      let sum = f32x4.mul(scale, v128.load(from + at * 4));
      if (adds) sum = f32x4.add(v128.load(y + at * 4), sum);
      if (bias) sum = f32x4.add(sum, v128.load(bias + (firstCol + at) * 4));
      if (residual) {
        sum = f32x4.add(sum, v128.load(residual + (firstRow + row) * p.residualPitch + (firstCol + at) * 4));
      }
      v128.store(y + at * 4, sum);
    }
  }
}
