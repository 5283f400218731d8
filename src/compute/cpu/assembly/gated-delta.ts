// The gated delta rule: four columns of a head's state at a time, each of `keySize` numbers one after another.
import { sumOf } from "./lanes";
import { exp1, log1 } from "./math";
import { GatedDelta } from "./parameters";

/** β of a token and a head. */
// @ts-ignore: decorator
@inline
export function betaOf(p: GatedDelta, token: u32, head: u32): f32 {
  return 1 / (1 + exp1(-load<f32>(p.gates + token * p.gatesPitch + head * 4)));
}

/** What decays are made of: the input of the softplus. */
// @ts-ignore: decorator
@inline
export function decayInput(p: GatedDelta, token: u32, head: u32): f32 {
  return load<f32>(p.gates + token * p.gatesPitch + (p.heads + head) * 4) + load<f32>(p.decays + (p.heads + head) * 4);
}

/** A of a head. */
// @ts-ignore: decorator
@inline
export function rateOf(p: GatedDelta, head: u32): f32 {
  return exp1(load<f32>(p.decays + head * 4));
}

/** What is left of a state behind a token: exp(−A · softplus(x)). */
// @ts-ignore: decorator
@inline
export function leftOf(rate: f32, x: f32): f32 {
  return exp1(-rate * (max(x, 0) + log1(1 + exp1(-abs(x)))));
}

/** What machine code takes of a token and a head: what is left of a state, β, and the slope of the former's logarithm by the gate. */
export function deltaGate(p: GatedDelta, token: u32, head: u32, to: usize): void {
  const rate = rateOf(p, head);
  const x = decayInput(p, token, head);
  store<f32>(to, leftOf(rate, x));
  store<f32>(to, betaOf(p, token, head), 4);
  store<f32>(to, -rate / (1 + exp1(-x)), 8);
}

// @ts-ignore: decorator
@inline
export function beginOf(p: GatedDelta, token: u32): u32 {
  return p.first ? load<u32>(p.first + token * 4) : 0;
}

/** The products of four columns, `size` bytes each, with a row. */
// @ts-ignore: decorator
@inline
export function products(state: usize, size: usize, row: usize): v128 {
  let a = f32x4.splat(0);
  let b = f32x4.splat(0);
  let c = f32x4.splat(0);
  let d = f32x4.splat(0);
  for (let at: usize = 0; at < size; at += 16) {
    const x = v128.load(row + at);
    const from = state + at;
    a = f32x4.add(a, f32x4.mul(v128.load(from), x));
    b = f32x4.add(b, f32x4.mul(v128.load(from + size), x));
    c = f32x4.add(c, f32x4.mul(v128.load(from + 2 * size), x));
    d = f32x4.add(d, f32x4.mul(v128.load(from + 3 * size), x));
  }
  return f32x4(sumOf(a), sumOf(b), sumOf(c), sumOf(d));
}

/** to = left · from + by · row, of four columns. */
// @ts-ignore: decorator
@inline
export function advance(from: usize, to: usize, size: usize, left: f32, by: v128, row: usize): void {
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
export function clear(to: usize, bytes: usize): void {
  for (let at: usize = 0; at < bytes; at += 16) v128.store(to + at, f32x4.splat(0));
}

// @ts-ignore: decorator
@inline
export function move(from: usize, to: usize, bytes: usize): void {
  for (let at: usize = 0; at < bytes; at += 16) v128.store(to + at, v128.load(from + at));
}

export function gatedDelta(p: GatedDelta, piece: u32, scratch: usize): void {
  const head = piece % p.heads;
  const from = p.rows ? piece / p.heads : 0;
  const end = p.rows ? from + 1 : p.tokens;
  const begin = p.rows ? load<u32>(p.rows + from * 4) : p.firstPosition;
  const size: usize = p.keySize * 4;
  const query = p.qk + (head / (p.heads / p.keyHeads)) * size;
  const key = query + p.keyHeads * size;
  const rate = rateOf(p, head);
  const scale = f32x4.splat(1 / <f32>Math.sqrt(p.keySize));
  for (let col: u32 = 0; col < p.valueSize; col += 4) {
    const column = head * p.valueSize + col;
    const state = p.states + column * size;
    if (begin == beginOf(p, from)) clear(scratch, 4 * size);
    else move(state + ((begin - 1) / p.block) * p.statesPitch, scratch, 4 * size);
    for (let token = from; token < end; token++) {
      const row = begin + token - from;
      if (row == beginOf(p, token)) clear(scratch, 4 * size);
      const k = key + token * p.qkPitch;
      const left = leftOf(rate, decayInput(p, token, head));
      const known = f32x4.mul(f32x4.splat(left), products(scratch, size, k));
      const value = v128.load(p.v + token * p.vPitch + column * 4);
      const by = f32x4.mul(f32x4.splat(betaOf(p, token, head)), f32x4.sub(value, known));
      advance(scratch, scratch, size, left, by, k);
      const y = products(scratch, size, query + token * p.qkPitch);
      v128.store(p.y + token * p.yPitch + column * 4, f32x4.mul(scale, y));
      if (p.states && (token + 1 == end || (row + 1) % p.block == 0)) {
        move(scratch, state + (row / p.block) * p.statesPitch, 4 * size);
      }
    }
  }
}
