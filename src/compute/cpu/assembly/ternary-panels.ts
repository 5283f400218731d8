// What ternary bases are multiplied with: panels of 16 columns, term after term.
import { transpose4 } from "./panels";

/** Columns of a panel: four vectors, whose sums stay in registers. */
export const PANEL_COLS: u32 = 16;
/** Bytes of a term. */
export const TERM: usize = 64;

/** A panel of up to sixteen rows that run along the terms. In the place of missing rows stands the last one. */
export function panelOfRows(from: usize, pitch: usize, rows: u32, terms: u32, to: usize): void {
  const last = from + <usize>(rows - 1) * pitch;
  const whole = terms & ~3;
  for (let group: u32 = 0; group < PANEL_COLS; group += 4) {
    const a = min(from + group * pitch, last);
    const b = min(a + pitch, last);
    const c = min(b + pitch, last);
    const d = min(c + pitch, last);
    for (let term: usize = 0; term < whole; term += 4) {
      const at = term * 4;
      transpose4(v128.load(a + at), v128.load(b + at), v128.load(c + at), v128.load(d + at), to + term * TERM, TERM);
    }
    for (let term: usize = whole; term < terms; term++) {
      const at = term * 4;
      store<f32>(to + term * TERM, load<f32>(a + at));
      store<f32>(to + term * TERM, load<f32>(b + at), 4);
      store<f32>(to + term * TERM, load<f32>(c + at), 8);
      store<f32>(to + term * TERM, load<f32>(d + at), 12);
    }
    to += 16;
  }
}

/** A panel of up to sixteen columns of a matrix whose rows are the terms, zeros where there is none. */
export function panelOfTerms(from: usize, pitch: usize, cols: u32, terms: u32, to: usize): void {
  const bytes = ((cols + 3) & ~3) * 4;
  for (let term: u32 = 0; term < terms; term++) {
    for (let at: usize = 0; at < bytes; at += 16) v128.store(to + at, v128.load(from + at));
    memory.fill(to + bytes, 0, TERM - bytes);
    from += pitch;
    to += TERM;
  }
}
