// Sums without products, by lists: which terms a row of a ternary basis adds, and which it subtracts. Machine code sums them.

/** Bytes of a row's list at most. */
// @ts-ignore: decorator
@inline
function mostOfList(terms: u32): usize {
  return 4 + <usize>terms * 8;
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
