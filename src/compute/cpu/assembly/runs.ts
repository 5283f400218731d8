// Numbers in f32, whatever they are stored as: here alone formats are told apart.
import { eight } from "./blocks";
import { BF16, F16, F32, Format, load4, MXFP4, Q4_0, Q6_K, Q8_0, storedBytes } from "./stored";

/** Elements `first` … of a row, up to whole vectors; `first` is a multiple of 4, in blocks of 8. */
export function loadRow(format: Format, row: usize, scales: usize, first: u32, count: u32, to: usize): void {
  if (format == Format.F32) fours<F32>(row, first, count, to);
  else if (format == Format.F16) fours<F16>(row, first, count, to);
  else if (format == Format.BF16) fours<BF16>(row, first, count, to);
  else if (format == Format.Q8_0) eights<Q8_0>(row, scales, first, count, to);
  else if (format == Format.Q4_0) eights<Q4_0>(row, scales, first, count, to);
  else if (format == Format.Q6_K) eights<Q6_K>(row, scales, first, count, to);
  else eights<MXFP4>(row, scales, first, count, to);
}

/** The same of several rows, to others that are `step` bytes apart: what machine code has no loader for. */
export function loadRows(
  format: Format, row: usize, pitch: usize, scales: usize, scalesPitch: usize, rows: u32, first: u32, count: u32, to: usize, step: usize,
): void {
  for (let i: u32 = 0; i < rows; i++) {
    loadRow(format, row + i * pitch, scales + i * scalesPitch, first, count, to + i * step);
  }
}

function fours<T>(row: usize, first: u32, count: u32, to: usize): void {
  const end = to + count * 4;
  for (let from = row + storedBytes<T>(first); to < end; to += 16) {
    v128.store(to, load4<T>(from));
    from += storedBytes<T>(4);
  }
}

function eights<T>(row: usize, scales: usize, first: u32, count: u32, to: usize): void {
  for (let at: u32 = 0; at < count; at += 8) eight<T>(row, scales, first + at, to + at * 4);
}
