// The gradients of the gated delta rule. States within a block are computed again from that before it.
import { beginOf, betaOf, clear, decayInput, leftOf, products, rateOf } from "./gated-delta";
import { exp1 } from "./math";
import { sumOf } from "./lanes";
import { GatedDeltaGradient } from "./parameters";

/** to = left · from + by · row, of four columns. */
// @ts-ignore: decorator
@inline
function advance(from: usize, to: usize, size: usize, left: f32, by: v128, row: usize): void {
  const keep = f32x4.splat(left);
  const a = v128.shuffle<i32>(by, by, 0, 0, 0, 0);
  const b = v128.shuffle<i32>(by, by, 1, 1, 1, 1);
  const c = v128.shuffle<i32>(by, by, 2, 2, 2, 2);
  const d = v128.shuffle<i32>(by, by, 3, 3, 3, 3);
  for (let at: usize = 0; at < size; at += 16) {
    const x = v128.load(row + at);
    const x0 = from + at;
    const y0 = to + at;
    v128.store(y0, f32x4.add(f32x4.mul(keep, v128.load(x0)), f32x4.mul(a, x)));
    v128.store(y0 + size, f32x4.add(f32x4.mul(keep, v128.load(x0 + size)), f32x4.mul(b, x)));
    v128.store(y0 + 2 * size, f32x4.add(f32x4.mul(keep, v128.load(x0 + 2 * size)), f32x4.mul(c, x)));
    v128.store(y0 + 3 * size, f32x4.add(f32x4.mul(keep, v128.load(x0 + 3 * size)), f32x4.mul(d, x)));
  }
}

// @ts-ignore: decorator
@inline
function move(from: usize, to: usize, bytes: usize): void {
  for (let at: usize = 0; at < bytes; at += 16) v128.store(to + at, v128.load(from + at));
}

/** y += Σ by · columns, of four columns times a factor. */
// @ts-ignore: decorator
@inline
function add(y: usize, columns: usize, size: usize, by: v128): void {
  const a = v128.shuffle<i32>(by, by, 0, 0, 0, 0);
  const b = v128.shuffle<i32>(by, by, 1, 1, 1, 1);
  const c = v128.shuffle<i32>(by, by, 2, 2, 2, 2);
  const d = v128.shuffle<i32>(by, by, 3, 3, 3, 3);
  for (let at: usize = 0; at < size; at += 16) {
    const from = columns + at;
    const left = f32x4.add(f32x4.mul(a, v128.load(from)), f32x4.mul(b, v128.load(from + size)));
    const right = f32x4.add(f32x4.mul(c, v128.load(from + 2 * size)), f32x4.mul(d, v128.load(from + 3 * size)));
    v128.store(y + at, f32x4.add(v128.load(y + at), f32x4.add(left, right)));
  }
}

/** Σ a · b, of four columns. */
// @ts-ignore: decorator
@inline
function productOf(a: usize, b: usize, bytes: usize): f32 {
  let sum = f32x4.splat(0);
  for (let at: usize = 0; at < bytes; at += 16) {
    sum = f32x4.add(sum, f32x4.mul(v128.load(a + at), v128.load(b + at)));
  }
  return sumOf(sum);
}

/** Of a head of keys, and the heads of values that it serves. */
export function gatedDeltaGradient(p: GatedDeltaGradient, piece: u32, scratch: usize): void {
  const size: usize = p.keySize * 4;
  const served = p.heads / p.keyHeads;
  for (let token: u32 = 0; token < p.tokens; token++) {
    clear(p.dqk + token * p.dqkPitch + piece * size, size);
    clear(p.dqk + token * p.dqkPitch + (p.keyHeads + piece) * size, size);
    const gates = p.dgates + token * p.dgatesPitch;
    for (let head = piece * served; head < (piece + 1) * served; head++) {
      store<f32>(gates + head * 4, 0);
      store<f32>(gates + (p.heads + head) * 4, 0);
    }
    // What is behind the last one stays zero.
    if (piece == 0) for (let at = 2 * p.heads; at & 3; at++) store<f32>(gates + at * 4, 0);
  }
  for (let head = piece * served; head < (piece + 1) * served; head++) {
    for (let col: u32 = 0; col < p.valueSize; col += 4) columns(p, piece, head, col, scratch);
    // So far these are the gradients by β and by what is left of a state.
    const rate = rateOf(p, head);
    for (let token: u32 = 0; token < p.tokens; token++) {
      const gate = p.dgates + token * p.dgatesPitch + head * 4;
      const decay = gate + p.heads * 4;
      const beta = betaOf(p, token, head);
      store<f32>(gate, load<f32>(gate) * beta * (1 - beta));
      const x = decayInput(p, token, head);
      store<f32>(decay, (-load<f32>(decay) * leftOf(rate, x) * rate) / (1 + exp1(-x)));
    }
  }
}

// @ts-ignore: decorator
@inline
function addTo(at: usize, value: f32): void {
  store<f32>(at, load<f32>(at) + value);
}

/** Adds what four columns of a head make of it: blocks from the last to the first, each forwards and then backwards. */
function columns(p: GatedDeltaGradient, keyHead: u32, head: u32, col: u32, scratch: usize): void {
  const size: usize = p.keySize * 4;
  const four = 4 * size;
  const column = head * p.valueSize + col;
  const query = keyHead * size;
  const key = query + p.keyHeads * size;
  const rate = rateOf(p, head);
  const scale = f32x4.splat(1 / <f32>Math.sqrt(p.keySize));
  // The gradient by the state; the state before each token of a block; what each added, and what it added that for.
  const slope = scratch;
  const states = slope + four;
  const added = states + (p.block + 1) * four;
  clear(slope, four);
  for (let block = (p.tokens + p.block - 1) / p.block; block-- > 0; ) {
    const begin = block * p.block;
    const end = min(begin + p.block, p.tokens);
    if (block > 0) move(p.states + (block - 1) * p.statesPitch + column * size, states, four);
    for (let token = begin; token < end; token++) {
      const at = states + (token - begin) * four;
      if (token == beginOf(p, token)) clear(at, four);
      const k = p.qk + token * p.qkPitch + key;
      const left = leftOf(rate, decayInput(p, token, head));
      const known = f32x4.mul(f32x4.splat(left), products(at, size, k));
      const rest = f32x4.sub(v128.load(p.v + token * p.vPitch + column * 4), known);
      const by = f32x4.mul(f32x4.splat(betaOf(p, token, head)), rest);
      advance(at, at + four, size, left, by, k);
      const dy = f32x4.mul(scale, v128.load(p.dy + token * p.dyPitch + column * 4));
      add(p.dqk + token * p.dqkPitch + query, at + four, size, dy);
      v128.store(added + (token - begin) * 32, by);
      v128.store(added + (token - begin) * 32 + 16, rest);
    }
    for (let token = end; token-- > begin; ) {
      const at = states + (token - begin) * four;
      const q = p.qk + token * p.qkPitch + query;
      const k = p.qk + token * p.qkPitch + key;
      const dk = p.dqk + token * p.dqkPitch + key;
      const left = leftOf(rate, decayInput(p, token, head));
      const beta = f32x4.splat(betaOf(p, token, head));
      advance(slope, slope, size, 1, f32x4.mul(scale, v128.load(p.dy + token * p.dyPitch + column * 4)), q);
      const by = products(slope, size, k);
      const dv = f32x4.mul(beta, by);
      const dknown = f32x4.neg(dv);
      v128.store(p.dv + token * p.dvPitch + column * 4, dv);
      const gate = p.dgates + token * p.dgatesPitch + head * 4;
      addTo(gate, sumOf(f32x4.mul(by, v128.load(added + (token - begin) * 32 + 16))));
      add(dk, slope, size, v128.load(added + (token - begin) * 32));
      add(dk, at, size, f32x4.mul(f32x4.splat(left), dknown));
      advance(slope, slope, size, 1, dknown, k);
      addTo(gate + p.heads * 4, productOf(slope, at, four));
      if (token == beginOf(p, token)) clear(slope, four);
      else advance(slope, slope, size, left, f32x4.splat(0), k);
    }
  }
}
