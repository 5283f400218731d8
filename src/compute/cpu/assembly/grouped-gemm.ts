// Products of groups of rows, each with a matrix of its own: a piece is a piece of the product of one group.
import { gemm } from "./gemm";
import { Gemm, GroupedGemm } from "./parameters";

/** Bytes of scratch that hold the parameters of one group. */
const PARAMETERS: usize = 128;

export function groupedGemm(p: GroupedGemm, piece: u32, scratch: usize): void {
  memory.copy(scratch, changetype<usize>(p), offsetof<Gemm>());
  const one = changetype<Gemm>(scratch);
  let group: u32 = 0;
  let inGroup = piece;
  if (p.aTerms) {
    const each = p.pieces * ((p.rows + p.pieceRows - 1) / p.pieceRows);
    group = piece / each;
    inGroup = piece % each;
  } else {
    // Groups have as many tiles as their rows need; pieces beyond the last have nothing to do.
    let tile = piece / p.pieces;
    for (; group < p.groups; group++) {
      const tiles = (rowsOf(p, group) + p.pieceRows - 1) / p.pieceRows;
      if (tile < tiles) break;
      tile -= tiles;
    }
    if (group == p.groups) return;
    inGroup = tile * p.pieces + (piece % p.pieces);
  }
  const begin = load<u32>(p.begins + group * 4);
  one.a = p.a + begin * p.aPitch;
  if (p.aTerms) {
    one.terms = rowsOf(p, group);
    one.b = p.b + begin * p.bPitch;
    one.y = p.y + group * p.rows * p.yPitch;
  } else {
    const first = group * (p.bTerms ? p.terms : p.cols);
    one.rows = rowsOf(p, group);
    one.b = p.b + first * p.bPitch;
    one.bScales = p.bScales + first * p.bScalesPitch;
    one.y = p.y + begin * p.yPitch;
  }
  gemm(one, inGroup, scratch + PARAMETERS);
}

// @ts-ignore: decorator
@inline
function rowsOf(p: GroupedGemm, group: u32): u32 {
  return load<u32>(p.begins + group * 4, 4) - load<u32>(p.begins + group * 4);
}
