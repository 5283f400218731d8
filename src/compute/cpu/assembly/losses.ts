// The loss of a block of columns of logits, and sums of losses.
import { largestOf, MOST_TERMS, sumOf } from "./lanes";
import { capped4, exp1, exp4, log1, tanh4 } from "./math";
import { LossSum, Nll, NllGradient } from "./parameters";

/** Below every logit. */
const NEVER: f32 = -3.0e38;
/** Columns that enter a row's state at once: what they come to does not depend on how many a block has. */
const UNIT: u32 = 1024;

export function nll(p: Nll, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  for (let row = piece * p.pieceRows; row < last; row++) {
    const logits = p.logits + row * p.logitsPitch;
    const state = p.state + row * 16;
    let top = p.isFirst ? NEVER : load<f32>(state);
    let total: f32 = p.isFirst ? 0 : load<f32>(state, 4);
    let found: f32 = p.isFirst ? 0 : load<f32>(state, 8);
    for (let first: u32 = 0; first < p.cols; first += UNIT) {
      const values = prepared(logits + first * 4, min(UNIT, p.cols - first), p.cap, scratch);
      const width = ((min(UNIT, p.cols - first) + 3) & ~3) * 4;
      const most = max(top, highest(values, width));
      total = total * exp1(top - most) + exponentials(values, width, most);
      top = most;
    }
    const wanted = load<u32>(p.targets + row * 4) - p.first; // wraps for a target before this block
    if (wanted < p.cols) {
      const value = v128.load32_splat(logits + wanted * 4);
      found = f32x4.extract_lane(p.cap != 0 ? capped4(value, f32x4.splat(p.cap)) : value, 0);
    }
    store<f32>(state, top);
    store<f32>(state, total, 4);
    store<f32>(state, found, 8);
    if (p.isLast) {
      storeAlone(p.y + row * p.yPitch, top - found + log1(total));
      storeAlone(p.lse + row * p.lsePitch, top + log1(total));
    }
  }
}

/** A number, and zeros behind it. */
function storeAlone(to: usize, value: f32): void {
  v128.store(to, f32x4.replace_lane(f32x4.splat(0), 0, value));
}

/** Logits with their cap, and with -Infinity in the place of missing ones, in scratch. */
function prepared(logits: usize, cols: u32, cap: f32, to: usize): usize {
  const width = ((cols + 3) & ~3) * 4;
  const cap4 = f32x4.splat(cap);
  for (let at: usize = 0; at < width; at += 16) {
    const value = v128.load(logits + at);
    v128.store(to + at, cap != 0 ? capped4(value, cap4) : value);
  }
  for (let col = cols; (col & 3) != 0; col++) store<f32>(to + col * 4, -Infinity);
  return to;
}

function highest(values: usize, width: usize): f32 {
  let most = v128.load(values);
  for (let at: usize = 16; at < width; at += 16) most = f32x4.pmax(most, v128.load(values + at));
  return largestOf(most);
}

/** Σ exp(value − top). */
function exponentials(values: usize, width: usize, top: f32): f32 {
  const top4 = f32x4.splat(top);
  let sum = f32x4.splat(0);
  for (let at: usize = 0; at < width; at += 16) sum = f32x4.add(sum, exp4(f32x4.sub(v128.load(values + at), top4)));
  return sumOf(sum);
}

export function nllGradient(p: NllGradient, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  const cap = f32x4.splat(p.cap);
  const one = f32x4.splat(1);
  const caps = p.cap != 0;
  for (let row = piece * p.pieceRows; row < last; row++) {
    const logits = p.logits + row * p.logitsPitch;
    const picked = p.dy ? load<f32>(p.dy + row * p.dyPitch) : 0;
    const all = f32x4.splat(picked + (p.dlse ? load<f32>(p.dlse + row * p.dlsePitch) : 0));
    const lse = f32x4.splat(load<f32>(p.lse + row * p.lsePitch));
    const wanted = load<u32>(p.targets + row * 4) - p.first;
    let atTarget: f32 = 1;
    if (wanted < p.cols && p.cap != 0) {
      const bent = tanh4(f32x4.div(v128.load32_splat(logits + wanted * 4), cap));
      atTarget = f32x4.extract_lane(f32x4.sub(one, f32x4.mul(bent, bent)), 0);
    }
    const width = <usize>((p.cols + 3) & ~3) * 4;
    for (let at: usize = 0; at < width; at += 16) {
      const value = v128.load(logits + at);
      let gradient: v128;
      if (caps) {
        const bent = tanh4(f32x4.div(value, cap));
        gradient = f32x4.mul(exp4(f32x4.sub(f32x4.mul(cap, bent), lse)), all);
        gradient = f32x4.mul(f32x4.sub(one, f32x4.mul(bent, bent)), gradient);
      } else gradient = f32x4.mul(exp4(f32x4.sub(value, lse)), all);
      v128.store(logits + at, gradient);
    }
    for (let col = p.cols; (col & 3) != 0; col++) store<f32>(logits + col * 4, 0);
    if (wanted < p.cols) store<f32>(logits + wanted * 4, load<f32>(logits + wanted * 4) - atTarget * picked);
  }
}

export function lossSum(p: LossSum, piece: u32, scratch: usize): void {
  let total: f32 = 0;
  for (let begin: u32 = 0; begin < p.count; begin += MOST_TERMS) {
    const end = min(begin + MOST_TERMS, p.count);
    let sum: f32 = 0;
    for (let at = begin; at < end; at++) sum += load<f32>(p.losses + at * p.lossesPitch);
    total += sum;
  }
  const all = p.weight * total;
  store<f32>(p.to, p.isFirst ? all : load<f32>(p.to) + all);
}
