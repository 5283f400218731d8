// Sinks of attention: a score of each head that has no value.
import { sumOf } from "./lanes";
import { exp1, log1 } from "./math";
import { Sinks, SinksGradient } from "./parameters";

/** Results times the share of the keys that have values, sums with the sink among them. */
export function sinks(p: Sinks, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  for (let row = piece * p.pieceRows; row < last; row++) {
    const lse = p.lse + row * p.lsePitch;
    for (let head: u32 = 0; head < p.heads; head++) {
      const before = load<f32>(lse + head * 4);
      const sink = load<f32>(p.sinks + head * 4);
      const sum = max(before, sink) + log1(1 + exp1(-abs(before - sink)));
      store<f32>(lse + head * 4, sum);
      const share = f32x4.splat(exp1(before - sum));
      const y = p.y + row * p.yPitch + head * p.head * 4;
      for (let at: usize = 0; at < p.head * 4; at += 16) v128.store(y + at, f32x4.mul(share, v128.load(y + at)));
    }
  }
}

export function sinksGradient(p: SinksGradient, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  for (let row = piece * p.pieceRows; row < last; row++) {
    const parts = p.parts + row * p.partsPitch;
    for (let head: u32 = 0; head < p.heads; head++) {
      const first: usize = head * p.head * 4;
      const y = p.y + row * p.yPitch + first;
      const dy = p.dy + row * p.dyPitch + first;
      let products = f32x4.splat(0);
      for (let at: usize = 0; at < p.head * 4; at += 16) {
        products = f32x4.add(products, f32x4.mul(v128.load(y + at), v128.load(dy + at)));
      }
      let rest = -sumOf(products);
      if (p.dlse) rest += load<f32>(p.dlse + row * p.dlsePitch + head * 4);
      const share = exp1(load<f32>(p.sinks + head * 4) - load<f32>(p.lse + row * p.lsePitch + head * 4));
      store<f32>(parts + head * 4, share * rest);
    }
    for (let head = p.heads; head & 3; head++) store<f32>(parts + head * 4, 0);
  }
}
