// Sums without products, by tables: all 81 sums of four terms, each times 1, 0 or −1, stand in a table, so that four terms of a row
// cost one look and one addition, whatever is zero among them ("four Russians": Arlazarov, Dinic, Kronrod, Faradzhev 1970).
import { TERM } from "./ternary-panels";

/** Terms of a table, which a partial sum has: it stays in a second-level cache of 512 KB. */
export const TABLE_TERMS: u32 = 128;
/** Terms of a turn of `sumLooks`: panels have zeros up to a multiple of it. */
export const TURN: u32 = 16;
/** Terms of a group, and bytes of its sums. */
const GROUP: u32 = 4;
const SUMS: usize = 5184; // 81 * TERM
/** Bytes of a table. */
export const TABLE: usize = 165888; // TABLE_TERMS / GROUP * SUMS

/** The table of a panel of `terms` terms, a multiple of TURN: sum a + 3b + 9c + 27d of a group, with 2 for −1. */
export function tableOf(panel: usize, terms: u32, to: usize): void {
  const end = panel + <usize>terms * TERM;
  for (; panel < end; panel += GROUP * TERM) {
    for (let at: usize = 0; at < TERM; at += 16) v128.store(to + at, f32x4.splat(0));
    let known: usize = TERM;
    for (let term: usize = 0; term < GROUP * TERM; term += TERM) {
      const x0 = v128.load(panel + term);
      const x1 = v128.load(panel + term, 16);
      const x2 = v128.load(panel + term, 32);
      const x3 = v128.load(panel + term, 48);
      const last = to + known;
      for (let from = to; from < last; from += TERM) {
        const plus = from + known;
        const minus = plus + known;
        const s0 = v128.load(from);
        const s1 = v128.load(from, 16);
        const s2 = v128.load(from, 32);
        const s3 = v128.load(from, 48);
        v128.store(plus, f32x4.add(s0, x0));
        v128.store(plus, f32x4.add(s1, x1), 16);
        v128.store(plus, f32x4.add(s2, x2), 32);
        v128.store(plus, f32x4.add(s3, x3), 48);
        v128.store(minus, f32x4.sub(s0, x0));
        v128.store(minus, f32x4.sub(s1, x1), 16);
        v128.store(minus, f32x4.sub(s2, x2), 32);
        v128.store(minus, f32x4.sub(s3, x3), 48);
      }
      known *= 3;
    }
    to += SUMS;
  }
}

/** The sums of a row over one table, to where sums of tables before it are unless it `isFirst`. */
export function sumLooks(looks: usize, terms: u32, table: usize, isFirst: bool, to: usize): void {
  let s0 = f32x4.splat(0),
    s1 = f32x4.splat(0),
    s2 = f32x4.splat(0),
    s3 = f32x4.splat(0);
  let t0 = f32x4.splat(0),
    t1 = f32x4.splat(0),
    t2 = f32x4.splat(0),
    t3 = f32x4.splat(0);
  const end = looks + terms / GROUP;
  for (; looks < end; looks += 4) {
    let at = table + (<usize>load<u8>(looks) << 6);
    s0 = f32x4.add(s0, v128.load(at));
    s1 = f32x4.add(s1, v128.load(at, 16));
    s2 = f32x4.add(s2, v128.load(at, 32));
    s3 = f32x4.add(s3, v128.load(at, 48));
    at = table + (<usize>load<u8>(looks, 1) << 6);
    t0 = f32x4.add(t0, v128.load(at, 5184));
    t1 = f32x4.add(t1, v128.load(at, 5200));
    t2 = f32x4.add(t2, v128.load(at, 5216));
    t3 = f32x4.add(t3, v128.load(at, 5232));
    at = table + (<usize>load<u8>(looks, 2) << 6);
    s0 = f32x4.add(s0, v128.load(at, 10368));
    s1 = f32x4.add(s1, v128.load(at, 10384));
    s2 = f32x4.add(s2, v128.load(at, 10400));
    s3 = f32x4.add(s3, v128.load(at, 10416));
    at = table + (<usize>load<u8>(looks, 3) << 6);
    t0 = f32x4.add(t0, v128.load(at, 15552));
    t1 = f32x4.add(t1, v128.load(at, 15568));
    t2 = f32x4.add(t2, v128.load(at, 15584));
    t3 = f32x4.add(t3, v128.load(at, 15600));
    table += 4 * SUMS;
  }
  s0 = f32x4.add(s0, t0);
  s1 = f32x4.add(s1, t1);
  s2 = f32x4.add(s2, t2);
  s3 = f32x4.add(s3, t3);
  if (!isFirst) {
    s0 = f32x4.add(s0, v128.load(to));
    s1 = f32x4.add(s1, v128.load(to, 16));
    s2 = f32x4.add(s2, v128.load(to, 32));
    s3 = f32x4.add(s3, v128.load(to, 48));
  }
  v128.store(to, s0);
  v128.store(to, s1, 16);
  v128.store(to, s2, 32);
  v128.store(to, s3, 48);
}
