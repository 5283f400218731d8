// What leads tokens to their experts and back: weights, the order of rows by expert, sums of what experts gave.
import { MOST_TERMS, sumOf } from "./lanes";
import { exp1 } from "./math";
import { ExpertRows, MixFactors, MixRows, RouterWeights, RouterWeightsGradient, SpreadRows } from "./parameters";

/**
 * The weights of a token's experts in scratch: of all, or of those chosen, in their order. A softmax, or the logistic function of each
 * logit, among those chosen divided by their sum + 1e-6.
 */
function weigh(p: RouterWeights, logits: usize, ids: usize, scratch: usize): void {
  const count = p.amongChosen ? p.chosen : p.experts;
  if (p.logistic) {
    let sum: f32 = 1e-6; // of at most MOST_TERMS
    for (let at: u32 = 0; at < count; at++) {
      const value: f32 = 1 / (1 + exp1(-logitAt(p, logits, ids, at)));
      store<f32>(scratch + at * 4, value);
      sum += value;
    }
    if (!p.amongChosen) return;
    for (let at: u32 = 0; at < count; at++) store<f32>(scratch + at * 4, load<f32>(scratch + at * 4) / sum);
    return;
  }
  let most: f32 = -Infinity;
  for (let at: u32 = 0; at < count; at++) most = max(most, logitAt(p, logits, ids, at));
  let total: f32 = 0;
  for (let first: u32 = 0; first < count; first += MOST_TERMS) {
    let sum: f32 = 0;
    const end = min(first + MOST_TERMS, count);
    for (let at = first; at < end; at++) {
      const value = exp1(logitAt(p, logits, ids, at) - most);
      store<f32>(scratch + at * 4, value);
      sum += value;
    }
    total += sum;
  }
  for (let at: u32 = 0; at < count; at++) store<f32>(scratch + at * 4, load<f32>(scratch + at * 4) / total);
}

// @ts-ignore: decorator
@inline
function logitAt(p: RouterWeights, logits: usize, ids: usize, at: u32): f32 {
  return load<f32>(logits + (p.amongChosen ? idAt(p, ids, at) : at) * 4);
}

/** An id from elsewhere must not lead beyond a row. */
// @ts-ignore: decorator
@inline
function idAt(p: RouterWeights, ids: usize, at: u32): u32 {
  return min(load<u32>(ids + at * 4), p.experts - 1);
}

// @ts-ignore: decorator
@inline
function weightAt(p: RouterWeights, ids: usize, at: u32, scratch: usize): f32 {
  return load<f32>(scratch + (p.amongChosen ? at : idAt(p, ids, at)) * 4);
}

export function routerWeights(p: RouterWeights, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.tokens);
  for (let token = piece * p.pieceRows; token < last; token++) {
    const ids = p.ids + token * p.idsPitch;
    const y = p.y + token * p.yPitch;
    weigh(p, p.logits + token * p.logitsPitch, ids, scratch);
    for (let at: u32 = 0; at < p.chosen; at++) store<f32>(y + at * 4, weightAt(p, ids, at, scratch));
    for (let at = p.chosen; at & 3; at++) store<f32>(y + at * 4, 0);
  }
}

/**
 * dlogit = q · (g − Σ g · weight), where q is an expert's share of the softmax, and g is zero of those not chosen. Of logistic weights
 * times 1 − their function; without the sum where they are not among those chosen.
 */
export function routerWeightsGradient(p: RouterWeightsGradient, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.tokens);
  for (let token = piece * p.pieceRows; token < last; token++) {
    const ids = p.ids + token * p.idsPitch;
    const dy = p.dy + token * p.dyPitch;
    const to = p.dlogits + token * p.dlogitsPitch;
    const logits = p.logits + token * p.logitsPitch;
    weigh(p, logits, ids, scratch);
    let mean: f32 = 0;
    for (let at: u32 = 0; at < p.chosen; at++) mean += load<f32>(dy + at * 4) * weightAt(p, ids, at, scratch);
    for (let at: u32 = 0; at < ((p.experts + 3) & ~3); at++) {
      store<f32>(to + at * 4, p.amongChosen || p.logistic || at >= p.experts ? 0 : -mean * load<f32>(scratch + at * 4));
    }
    for (let at: u32 = 0; at < p.chosen; at++) {
      const expert = idAt(p, ids, at);
      const own = to + expert * 4;
      const weight = weightAt(p, ids, at, scratch);
      const gradient = load<f32>(dy + at * 4);
      if (p.logistic) {
        const value: f32 = 1 / (1 + exp1(-load<f32>(logits + expert * 4)));
        store<f32>(own, weight * (1 - value) * (p.amongChosen ? gradient - mean : gradient));
        continue;
      }
      store<f32>(own, weight * (p.amongChosen ? gradient - mean : gradient) + load<f32>(own));
    }
  }
}

/** Sorts by counting, in one piece. */
export function expertRows(p: ExpertRows, piece: u32, scratch: usize): void {
  memory.fill(scratch, 0, (p.experts + 1) * 4);
  for (let token: u32 = 0; token < p.tokens; token++) {
    for (let at: u32 = 0; at < p.chosen; at++) {
      const next = scratch + expertAt(p, token, at) * 4;
      store<u32>(next, load<u32>(next, 4) + 1, 4);
    }
  }
  for (let expert: u32 = 0; expert < p.experts; expert++) {
    const next = scratch + expert * 4;
    store<u32>(next, load<u32>(next) + load<u32>(next, 4), 4);
  }
  memory.copy(p.begins, scratch, (p.experts + 1) * 4);
  for (let token: u32 = 0; token < p.tokens; token++) {
    for (let at: u32 = 0; at < p.chosen; at++) {
      const next = scratch + expertAt(p, token, at) * 4;
      const row = load<u32>(next);
      store<u32>(p.places + token * p.placesPitch + at * 4, row);
      store<u32>(next, row + 1);
    }
  }
}

// @ts-ignore: decorator
@inline
function expertAt(p: ExpertRows, token: u32, at: u32): u32 {
  return min(load<u32>(p.ids + token * p.idsPitch + at * 4), p.experts - 1);
}

// @ts-ignore: decorator
@inline
function placeAt(p: SpreadRows, row: u32, at: u32): u32 {
  return load<u32>(p.places + row * p.placesPitch + at * 4);
}

// @ts-ignore: decorator
@inline
function factorAt(p: SpreadRows, row: u32, at: u32): v128 {
  return f32x4.splat(p.factors ? p.scale * load<f32>(p.factors + row * p.factorsPitch + at * 4) : p.scale);
}

export function spreadRows(p: SpreadRows, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  for (let row = piece * p.pieceRows; row < last; row++) {
    const x = p.x + row * p.xPitch;
    for (let at: u32 = 0; at < p.each; at++) {
      const y = p.y + placeAt(p, row, at) * p.yPitch;
      const factor = factorAt(p, row, at);
      for (let col: usize = 0; col < p.width * 16; col += 16) v128.store(y + col, f32x4.mul(factor, v128.load(x + col)));
    }
  }
}

export function mixRows(p: MixRows, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  for (let row = piece * p.pieceRows; row < last; row++) {
    const y = p.y + row * p.yPitch;
    for (let col: usize = 0; col < p.width * 16; col += 16) {
      let sum = f32x4.splat(0);
      for (let at: u32 = 0; at < p.each; at++) {
        const x = v128.load(p.x + placeAt(p, row, at) * p.xPitch + col);
        sum = f32x4.add(sum, f32x4.mul(factorAt(p, row, at), x));
      }
      if (p.residual) sum = f32x4.add(sum, v128.load(p.residual + row * p.residualPitch + col));
      v128.store(y + col, sum);
    }
  }
}

export function mixFactors(p: MixFactors, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  const bytes: usize = p.width * 16;
  for (let row = piece * p.pieceRows; row < last; row++) {
    const y = p.y + row * p.yPitch;
    const dy = p.dy + row * p.dyPitch;
    for (let at: u32 = 0; at < p.each; at++) {
      const x = p.x + placeAt(p, row, at) * p.xPitch;
      let total = f32x4.splat(0);
      for (let first: usize = 0; first < bytes; first += MOST_TERMS * 4) {
        let sum = f32x4.splat(0);
        const end = min(first + MOST_TERMS * 4, bytes);
        for (let col = first; col < end; col += 16) sum = f32x4.add(sum, f32x4.mul(v128.load(dy + col), v128.load(x + col)));
        total = f32x4.add(total, sum);
      }
      store<f32>(y + at * 4, p.scale * sumOf(total));
    }
    for (let at = p.each; at & 3; at++) store<f32>(y + at * 4, 0);
  }
}
