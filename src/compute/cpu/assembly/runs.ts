// Products in their plain form: where there is no machine code they run, and machine code is compared with them. Terms are brought
// into runs of f32 in scratch, whatever they are stored as and whichever way they lie, and runs are multiplied.
import { eight, one } from "./blocks";
import { sumOf } from "./lanes";
import { load1, load4, storedBytes } from "./stored";

/** Terms of a partial sum, and bytes of a run. */
export const RUN_TERMS: u32 = 256;
export const RUN: usize = 1024;

/** Fills a run up with zeros to what `dots` takes at once. */
export function endRun(run: usize, terms: u32): void {
  for (let at: usize = terms; at & 15; at++) store<f32>(run + at * 4, 0);
}

/** Terms `first` … of a row that runs along them; `first` is a multiple of 256. */
export function rowRun<T>(row: usize, scales: usize, first: u32, terms: u32, to: usize): void {
  if (sizeof<T>() == 1) {
    for (let at: u32 = 0; at < terms; at += 8) eight<T>(row, scales, first + at, to + at * 4);
  } else {
    const from = row + storedBytes<T>(first);
    for (let at: u32 = 0; at < terms; at += 4) v128.store(to + at * 4, load4<T>(from + storedBytes<T>(at)));
  }
  endRun(to, terms);
}

/** Terms of a column of a matrix whose rows are the terms. The addresses are those of the first one's row. */
export function columnRun<T>(rows: usize, pitch: usize, scales: usize, scalesPitch: usize, col: u32, terms: u32, to: usize): void {
  for (let term: u32 = 0; term < terms; term++) {
    if (sizeof<T>() == 1) store<f32>(to + term * 4, one<T>(rows, scales, col));
    else store<f32>(to + term * 4, load1<T>(rows + storedBytes<T>(col)));
    rows += pitch;
    scales += scalesPitch;
  }
  endRun(to, terms);
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
