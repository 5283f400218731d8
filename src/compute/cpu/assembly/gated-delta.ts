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

/** to = left · from + by · key, of four columns; and the products of that with a query. */
// @ts-ignore: decorator
@inline
function step(from: usize, to: usize, size: usize, left: f32, by: v128, key: usize, query: usize): v128 {
  const keep = f32x4.splat(left);
  const by0 = v128.shuffle<i32>(by, by, 0, 0, 0, 0);
  const by1 = v128.shuffle<i32>(by, by, 1, 1, 1, 1);
  const by2 = v128.shuffle<i32>(by, by, 2, 2, 2, 2);
  const by3 = v128.shuffle<i32>(by, by, 3, 3, 3, 3);
  let a = f32x4.splat(0);
  let b = f32x4.splat(0);
  let c = f32x4.splat(0);
  let d = f32x4.splat(0);
  for (let at: usize = 0; at < size; at += 16) {
    const k = v128.load(key + at);
    const q = v128.load(query + at);
    a = f32x4.add(a, f32x4.mul(advanced(from + at, to + at, keep, by0, k), q));
    b = f32x4.add(b, f32x4.mul(advanced(from + at + size, to + at + size, keep, by1, k), q));
    c = f32x4.add(c, f32x4.mul(advanced(from + at + 2 * size, to + at + 2 * size, keep, by2, k), q));
    d = f32x4.add(d, f32x4.mul(advanced(from + at + 3 * size, to + at + 3 * size, keep, by3, k), q));
  }
  return f32x4(sumOf(a), sumOf(b), sumOf(c), sumOf(d));
}

/** Four numbers of a column, which are stored. */
// @ts-ignore: decorator
@inline
function advanced(from: usize, to: usize, keep: v128, by: v128, key: v128): v128 {
  const value = f32x4.add(f32x4.mul(keep, v128.load(from)), f32x4.mul(by, key));
  v128.store(to, value);
  return value;
}

// @ts-ignore: decorator
@inline
export function clear(to: usize, bytes: usize): void {
  for (let at: usize = 0; at < bytes; at += 16) v128.store(to + at, f32x4.splat(0));
}

/** The state that a token reads lies where the one before it has left it: in the scratch, or in a row of `states`. */
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
  let left: f32 = 0;
  let beta = f32x4.splat(0);
  for (let col: u32 = 0; col < p.valueSize; col += 4) {
    const column = head * p.valueSize + col;
    const state = p.states + column * size;
    let at = state + ((begin - 1) / p.block) * p.statesPitch;
    for (let token = from; token < end; token++) {
      const row = begin + token - from;
      if (row == beginOf(p, token)) {
        at = scratch;
        clear(at, 4 * size);
      }
      const k = key + token * p.qkPitch;
      // Those of one token hold for all columns.
      if (col == 0 || end - from > 1) {
        left = leftOf(rate, decayInput(p, token, head));
        beta = f32x4.splat(betaOf(p, token, head));
      }
      const known = f32x4.mul(f32x4.splat(left), products(at, size, k));
      const value = v128.load(p.v + token * p.vPitch + column * 4);
      const by = f32x4.mul(beta, f32x4.sub(value, known));
      const isKept = p.states && (token + 1 == end || (row + 1) % p.block == 0);
      const to = isKept ? state + (row / p.block) * p.statesPitch : scratch;
      const y = step(at, to, size, left, by, k, query + token * p.qkPitch);
      v128.store(p.y + token * p.yPitch + column * 4, f32x4.mul(scale, y));
      at = to;
    }
  }
}
