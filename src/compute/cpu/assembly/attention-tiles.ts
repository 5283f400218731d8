// What the two sides of attention's gradients have in common: parameters, scratch, and tiles of scores.
import { Attended } from "./attended";
import { capped4, exp4 } from "./math";
import { colsFromTerms, ROWS_PANEL, TILE_COLS } from "./panels";
import { rowPanel, rowTile, TILE_W } from "./row";
import { SCORES_PITCH } from "./softmax";
import { tile } from "./tile";

/** What is not wanted is 0. */
@unmanaged
export class AttentionGradient extends Attended {
  /** Rows of keys and values. */
  positions: u32;
  dy: usize;
  dyPitch: u32;
  dlse: usize;
  dlsePitch: u32;
  /** Rows of `statsPitch` bytes, a token every 4: first keys, last keys, and of each head lse and dy · y − dlse. */
  stats: usize;
  statsPitch: u32;
  dq: usize;
  dqPitch: u32;
  dkeys: usize;
  dkeysPitch: u32;
  dvalues: usize;
  dvaluesPitch: u32;
  /** Rows that a piece owns, at most 48, and of the others in a chunk: 256, or 128 where heads are large. */
  pieceRows: u32;
  chunk: u32;
}

// What stands where in the scratch: six rows of scores and of products dy · value, panels of both, a tile of results …
export const PRODUCTS: usize = 6336;
export const SLOPES: usize = 2 * PRODUCTS;
export const WEIGHTS: usize = SLOPES + ROWS_PANEL;
const RESULT: usize = WEIGHTS + ROWS_PANEL;
// … and, for 48 rows and heads of 256, the sums of own rows, then the panels of a chunk.
export const SUMS: usize = RESULT + 256;
export const OTHER_SUMS: usize = SUMS + 49152;
export const PANELS: usize = OTHER_SUMS + 49152;

/** Bytes of the panels that `rowPanels` and `termPanels` make of a chunk. */
// @ts-ignore: decorator
@inline
export function rowPanelsBytes(p: AttentionGradient): usize {
  return <usize>((p.chunk + TILE_W - 1) / TILE_W) * p.head * 24;
}

// @ts-ignore: decorator
@inline
export function termPanelsBytes(p: AttentionGradient): usize {
  return <usize>((p.head + TILE_COLS - 1) / TILE_COLS) * p.chunk * 32;
}

/** Rows `low` … `high` − 1 of a chunk as what own rows are multiplied with. */
export function rowPanels(p: AttentionGradient, from: usize, pitch: usize, low: u32, high: u32, to: usize): void {
  for (let panel = low / TILE_W; panel * TILE_W < high; panel++) {
    const row = panel * TILE_W;
    rowPanel(from + row * pitch, pitch, min(TILE_W, high - row), p.head / 4, to + panel * p.head * 24);
  }
}

/** The same rows as the terms of sums. */
export function termPanels(p: AttentionGradient, from: usize, pitch: usize, low: u32, high: u32, to: usize): void {
  for (let d: u32 = 0; d < p.head; d += TILE_COLS) {
    const at = to + (d / TILE_COLS) * p.chunk * 32 + low * 32;
    colsFromTerms(from + low * pitch + d * 4, pitch, min(TILE_COLS, p.head - d), high - low, at);
  }
}

/** The products of up to six own rows with the chunk's: of the first operands to scratch, of the second behind them. */
export function products(
  p: AttentionGradient, own: usize, pitch: usize, other: usize, otherPitch: usize, rows: u32, low: u32, high: u32, scratch: usize,
): void {
  const vectors = p.head / 4;
  const panels = scratch + PANELS;
  const otherPanels = panels + rowPanelsBytes(p);
  for (let i: u32 = 0; i < rows; i += 2) {
    const next = i + 1 < rows ? i + 1 : i;
    const to = scratch + i * SCORES_PITCH;
    const toNext = scratch + next * SCORES_PITCH;
    for (let panel = low / TILE_W; panel * TILE_W < high; panel++) {
      const at = panel * p.head * 24;
      const col = panel * TILE_W * 4;
      rowTile(own + i * pitch, own + next * pitch, panels + at, vectors, to + col, toNext + col);
      const place = PRODUCTS + col;
      rowTile(other + i * otherPitch, other + next * otherPitch, otherPanels + at, vectors, to + place, toNext + place);
    }
  }
}

/** Products of one query and the chunk's keys become slopes and, behind them, weights. */
export function ofQuery(p: AttentionGradient, at: usize, start: u32, low: u32, high: u32, seen: usize, lse: f32, rest: f32): void {
  const first = i32x4.splat(load<i32>(seen));
  const last = i32x4.splat(load<i32>(seen + p.statsPitch));
  const four = i32x4.splat(4);
  let key = i32x4.add(i32x4.splat(start + low), i32x4(0, 1, 2, 3));
  const lse4 = f32x4.splat(lse);
  const rest4 = f32x4.splat(rest);
  const scale = f32x4.splat(p.scale);
  const cap = p.cap;
  for (let col = low; col < high; col += 4) {
    const mask = v128.and(i32x4.ge_s(key, first), i32x4.le_s(key, last));
    weigh(scale, cap, at + col * 4, lse4, rest4, mask);
    key = i32x4.add(key, four);
  }
}

/** The same of one key and the chunk's queries of one head. */
export function ofKey(p: AttentionGradient, at: usize, key: u32, start: u32, low: u32, high: u32, head: u32): void {
  const key4 = i32x4.splat(key);
  const scale = f32x4.splat(p.scale);
  const cap = p.cap;
  const firsts = p.stats + start * 4;
  const lasts = firsts + p.statsPitch;
  const lse = firsts + (2 + 2 * head) * p.statsPitch;
  const rest = lse + p.statsPitch;
  for (let col: usize = low * 4; col < high * 4; col += 16) {
    const mask = v128.and(i32x4.le_s(v128.load(firsts + col), key4), i32x4.ge_s(v128.load(lasts + col), key4));
    weigh(scale, cap, at + col, v128.load(lse + col), v128.load(rest + col), mask);
  }
}

/** From q · key and dy · value of four pairs; zeros where the key is not seen. */
// @ts-ignore: decorator
@inline
function weigh(scale: v128, most: f32, at: usize, lse: v128, rest: v128, seen: v128): void {
  let score = f32x4.mul(scale, v128.load(at));
  let bend = scale;
  if (most != 0) {
    const cap = f32x4.splat(most);
    score = capped4(score, cap);
    const share = f32x4.div(score, cap);
    bend = f32x4.mul(scale, f32x4.sub(f32x4.splat(1), f32x4.mul(share, share)));
  }
  const weight = exp4(f32x4.sub(score, lse));
  const slope = f32x4.mul(f32x4.mul(bend, weight), f32x4.sub(v128.load(at + PRODUCTS), rest));
  v128.store(at, v128.and(slope, seen));
  v128.store(at + PRODUCTS, v128.and(weight, seen));
}

/** Adds a panel of six rows times the chunk's terms to the sums of up to six own rows. */
export function addProduct(
  p: AttentionGradient, panel: usize, terms: usize, low: u32, high: u32, rows: u32, sums: usize, scratch: usize,
): void {
  const result = scratch + RESULT;
  for (let d: u32 = 0; d < p.head; d += TILE_COLS) {
    tile(panel, terms + (d / TILE_COLS) * p.chunk * 32 + low * 32, high - low, result, 32);
    for (let i: u32 = 0; i < rows; i++) {
      const to = sums + (i * p.head + d) * 4;
      v128.store(to, f32x4.add(v128.load(to), v128.load(result + i * 32)));
      if (d + 4 < p.head) v128.store(to, f32x4.add(v128.load(to, 16), v128.load(result + i * 32, 16)), 16);
    }
  }
}

export function storeRows(p: AttentionGradient, sums: usize, rows: u32, to: usize, pitch: usize): void {
  for (let row: u32 = 0; row < rows; row++) memory.copy(to + row * pitch, sums + row * p.head * 4, p.head * 4);
}
