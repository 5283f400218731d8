// Sums without products, by lists: which terms a row of a ternary basis adds, and which it subtracts, and sums that walk down both
// at once. Zeros cost nothing.
import { TERM } from "./ternary-panels";

/** Bytes of a row's list at most. */
// @ts-ignore: decorator
@inline
export function mostOfList(terms: u32): usize {
  return 8 + <usize>terms * 8;
}

/**
 * Lists a row of codes over `terms` terms: its length in bytes, then pairs of distances into a panel, of what is added and what is
 * subtracted. The shorter side ends with the distance of term `terms`, a row of zeros. @returns where the list ends
 */
export function listRow(codes: usize, terms: u32, to: usize): usize {
  const begin = to + 8;
  let plus = begin;
  let minus = begin + 4;
  for (let term: u32 = 0; term < terms; term += 32) {
    const left = terms - term;
    let rest = left > 16 ? load<u64>(codes + term / 4) : <u64>load<u32>(codes + term / 4);
    if (left < 32) rest &= (<u64>1 << (2 * left)) - 1;
    for (; rest != 0; rest &= rest - 1) {
      const bit = <u32>ctz(rest);
      const isMinus: usize = bit & 1;
      // Which side is next is random: no branch.
      store<u32>(select(minus, plus, isMinus), (term + bit / 2) * <u32>TERM);
      minus += 8 * isMinus;
      plus += 8 * (isMinus ^ 1);
    }
  }
  const none = terms * <u32>TERM;
  const end = max(plus, minus - 4);
  for (; plus < end; plus += 8) store<u32>(plus, none);
  for (; minus < end; minus += 8) store<u32>(minus, none);
  store<u32>(to, <u32>(end - begin));
  return end;
}

/** The sums of one list over one panel. @returns where the next list begins */
export function sumList(list: usize, panel: usize, to: usize): usize {
  let s0 = f32x4.splat(0),
    s1 = f32x4.splat(0),
    s2 = f32x4.splat(0),
    s3 = f32x4.splat(0);
  let t0 = f32x4.splat(0),
    t1 = f32x4.splat(0),
    t2 = f32x4.splat(0),
    t3 = f32x4.splat(0);
  const end = list + 8 + load<u32>(list);
  for (list += 8; list < end; list += 8) {
    const plus = panel + load<u32>(list);
    const minus = panel + load<u32>(list, 4);
    s0 = f32x4.add(s0, v128.load(plus));
    s1 = f32x4.add(s1, v128.load(plus, 16));
    s2 = f32x4.add(s2, v128.load(plus, 32));
    s3 = f32x4.add(s3, v128.load(plus, 48));
    t0 = f32x4.add(t0, v128.load(minus));
    t1 = f32x4.add(t1, v128.load(minus, 16));
    t2 = f32x4.add(t2, v128.load(minus, 32));
    t3 = f32x4.add(t3, v128.load(minus, 48));
  }
  v128.store(to, f32x4.sub(s0, t0));
  v128.store(to, f32x4.sub(s1, t1), 16);
  v128.store(to, f32x4.sub(s2, t2), 32);
  v128.store(to, f32x4.sub(s3, t3), 48);
  return end;
}
