import { BASIS_RUN, basisRow, DRAWN_BYTES } from "./basis";
import { lanesBefore } from "./lanes";
import { Unpack } from "./parameters";
import { BF16, F16, F32, Format, store4, storedBytes } from "./stored";

export function unpack(p: Unpack, piece: u32, scratch: usize): void {
  if (p.dtype == Format.F32) rowsAs<F32>(p, piece, scratch);
  else if (p.dtype == Format.F16) rowsAs<F16>(p, piece, scratch);
  else rowsAs<BF16>(p, piece, scratch);
}

function rowsAs<T>(p: Unpack, piece: u32, scratch: usize): void {
  const numbers = scratch + DRAWN_BYTES;
  const width = p.targetPitch / <u32>storedBytes<T>(1);
  const last = min((piece + 1) * p.pieceRows, p.rows);
  for (let row = piece * p.pieceRows; row < last; row++) {
    const to = p.target + row * p.targetPitch;
    for (let col: u32 = 0; col < width; col += BASIS_RUN) {
      const count = min(BASIS_RUN, width - col);
      const given = col < p.cols ? min(count, p.cols - col) : 0;
      basisRow(p, p.firstRow + row, p.firstCol + col, given, numbers, scratch);
      for (let at: u32 = 0; at < count; at += 4) {
        const inside = lanesBefore(<i32>at, <i32>given);
        store4<T>(to + storedBytes<T>(col + at), v128.and(inside, v128.load(numbers + at * 4)));
      }
    }
  }
}
