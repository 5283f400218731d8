// Numbers in f32, whatever they are stored as: here alone formats are told apart. Terms are brought into runs of f32 in scratch,
// whichever way they lie, and runs are multiplied.
import { eight, isBlocks, one } from "./blocks";
import { sumOf } from "./lanes";
import { BF16, F16, F32, Format, load1, load4, MXFP4, Q4_0, Q6_K, Q8_0, storedBytes } from "./stored";

/** Terms of a partial sum, and bytes of a run. */
export const RUN_TERMS: u32 = 256;
export const RUN: usize = 1024;

/** Fills a run up with zeros to what `dots` takes at once. */
export function endRun(run: usize, terms: u32): void {
  for (let at: usize = terms; at & 15; at++) store<f32>(run + at * 4, 0);
}

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

/** Terms of a column of a matrix whose rows are the terms. The addresses are those of the first one's row. */
export function columnRun(
  format: Format, rows: usize, pitch: usize, scales: usize, scalesPitch: usize, col: u32, terms: u32, to: usize,
): void {
  if (format == Format.F32) down<F32>(rows, pitch, scales, scalesPitch, col, terms, to);
  else if (format == Format.F16) down<F16>(rows, pitch, scales, scalesPitch, col, terms, to);
  else if (format == Format.BF16) down<BF16>(rows, pitch, scales, scalesPitch, col, terms, to);
  else if (format == Format.Q8_0) down<Q8_0>(rows, pitch, scales, scalesPitch, col, terms, to);
  else if (format == Format.Q4_0) down<Q4_0>(rows, pitch, scales, scalesPitch, col, terms, to);
  else if (format == Format.Q6_K) down<Q6_K>(rows, pitch, scales, scalesPitch, col, terms, to);
  else down<MXFP4>(rows, pitch, scales, scalesPitch, col, terms, to);
  endRun(to, terms);
}

function down<T>(
  rows: usize, pitch: usize, scales: usize, scalesPitch: usize, col: u32, terms: u32, to: usize,
): void {
  for (let term: u32 = 0; term < terms; term++) {
    const value = isBlocks<T>() ? one<T>(rows, scales, col) : load1<T>(rows + storedBytes<T>(col));
    store<f32>(to + term * 4, value);
    rows += pitch;
    scales += scalesPitch;
  }
}

/** The products of runs that lie one behind the other with one, a number to every `pitch` bytes. */
export function dots(runs: usize, count: u32, run: usize, terms: u32, to: usize, pitch: usize): void {
  const bytes = ((terms + 15) & ~15) * 4;
  for (let i: u32 = 0; i < count; i++) {
    let s0 = f32x4.splat(0), s1 = f32x4.splat(0), s2 = f32x4.splat(0), s3 = f32x4.splat(0);
    for (let at: usize = 0; at < bytes; at += 64) {
      const a = runs + at;
      const b = run + at;
      s0 = f32x4.add(s0, f32x4.mul(v128.load(a), v128.load(b)));
      s1 = f32x4.add(s1, f32x4.mul(v128.load(a, 16), v128.load(b, 16)));
      s2 = f32x4.add(s2, f32x4.mul(v128.load(a, 32), v128.load(b, 32)));
      s3 = f32x4.add(s3, f32x4.mul(v128.load(a, 48), v128.load(b, 48)));
    }
    store<f32>(to, sumOf(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3))));
    runs += RUN;
    to += pitch;
  }
}
