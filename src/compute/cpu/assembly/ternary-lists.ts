// Sums without products, by lists: which terms a row of a ternary basis adds, and which it subtracts. Machine code sums them.

/** Terms that are listed without a branch where there are many: how many of 32 there are is random, so such a branch is mispredicted. */
const GROUP: u32 = 8;

/** Bytes of a row's list at most, with what a group may write behind it. */
// @ts-ignore: decorator
@inline
function mostOfList(terms: u32): usize {
  return 4 + <usize>(terms + GROUP) * 8;
}

/** Lists rows of codes over `terms` terms, as many as there is certainly room for. @returns how many */
export function listRows(codes: usize, pitch: u32, rows: u32, terms: u32, termBytes: u32, to: usize, end: usize): u32 {
  let row: u32 = 0;
  for (; row < rows && to + mostOfList(terms) <= end; row++) {
    to = listRow(codes, terms, termBytes, to);
    codes += pitch;
  }
  return row;
}

/**
 * How many pairs there are, and these: where the terms that are added and subtracted stand in a panel, in their order. The shorter
 * side ends with the place of term `terms`, a row of zeros. @returns where the list ends
 */
function listRow(codes: usize, terms: u32, termBytes: u32, to: usize): usize {
  const begin = to + 4;
  let plus = begin;
  let minus = begin + 4;
  for (let term: u32 = 0; term < terms; term += 32) {
    const left = terms - term;
    let rest = left > 16 ? load<u64>(codes + term / 4) : <u64>load<u32>(codes + term / 4);
    if (left < 32) rest &= (<u64>1 << (2 * left)) - 1;
    if (popcnt(rest) > GROUP / 2) {
      const base = term * termBytes;
      plus = listGroups(rest & 0x5555555555555555, base, termBytes / 2, plus);
      minus = listGroups(rest & 0xaaaaaaaaaaaaaaaa, base - termBytes / 2, termBytes / 2, minus);
      continue;
    }
    for (; rest != 0; rest &= rest - 1) {
      const bit = <u32>ctz(rest);
      const isMinus: usize = bit & 1;
      // Which side is next is random: no branch.
      store<u32>(select(minus, plus, isMinus), (term + bit / 2) * termBytes);
      minus += 8 * isMinus;
      plus += 8 * (isMinus ^ 1);
    }
  }
  const none = terms * termBytes;
  const end = max(plus, minus - 4);
  for (; plus < end; plus += 8) store<u32>(plus, none);
  for (; minus < end; minus += 8) store<u32>(minus, none);
  store<u32>(to, <u32>(end - begin) / 8);
  return end;
}

/** Lists the places of bits in every second number from `to` on; what stands behind them is written over. @returns where the next one goes */
// @ts-ignore: decorator
@inline
function listGroups(bits: u64, base: u32, bitBytes: u32, to: usize): usize {
  const end = to + 8 * <usize>popcnt(bits);
  while (bits != 0) {
    store<u32>(to, base + <u32>ctz(bits) * bitBytes); bits &= bits - 1;
    store<u32>(to, base + <u32>ctz(bits) * bitBytes, 8); bits &= bits - 1;
    store<u32>(to, base + <u32>ctz(bits) * bitBytes, 16); bits &= bits - 1;
    store<u32>(to, base + <u32>ctz(bits) * bitBytes, 24); bits &= bits - 1;
    store<u32>(to, base + <u32>ctz(bits) * bitBytes, 32); bits &= bits - 1;
    store<u32>(to, base + <u32>ctz(bits) * bitBytes, 40); bits &= bits - 1;
    store<u32>(to, base + <u32>ctz(bits) * bitBytes, 48); bits &= bits - 1;
    store<u32>(to, base + <u32>ctz(bits) * bitBytes, 56); bits &= bits - 1;
    to += 8 * GROUP;
  }
  return end;
}
