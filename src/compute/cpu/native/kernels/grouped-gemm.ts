import { GROUPED_GEMM } from "../../families/grouped-gemm.ts";
import type { Caller } from "../caller.ts";
import { wordsOf } from "../../parameters.ts";
import { productOf } from "./gemm.ts";
import { multiply, type Product } from "./product.ts";

const AT = wordsOf(GROUPED_GEMM);

/** One piece of the product of one group, as the module's function of this name finds it. */
export function groupedGemm(on: Caller, parameters: number, piece: number): void {
  const word = on.reader(parameters, AT.count);
  const p = productOf(word);
  const [pieces, pieceRows, pieceCols] = [word(AT.pieces), word(AT.pieceRows), word(AT.pieceCols)];
  const groups = word(AT.groups);
  const begins = on.reader(word(AT.begins), groups + 1);
  const rowsOf = (group: number) => begins(group + 1) - begins(group);
  let tile = Math.floor(piece / pieces);
  let group = 0;
  if (p.aTerms) {
    const each = Math.ceil(p.rows / pieceRows);
    group = Math.floor(tile / each);
    tile %= each;
  } else {
    for (; group < groups; group++) {
      const tiles = Math.ceil(rowsOf(group) / pieceRows);
      if (tile < tiles) break;
      tile -= tiles;
    }
    if (group === groups) return;
  }
  const one = p.aTerms
    ? sumOf(p, group, begins(group), rowsOf(group))
    : productIn(p, group, begins(group), rowsOf(group));
  const firstCol = (piece % pieces) * pieceCols;
  const firstRow = tile * pieceRows;
  const rows = Math.min(pieceRows, one.rows - firstRow);
  multiply(on, one, firstRow, rows, firstCol, Math.min(pieceCols, p.cols - firstCol));
}

/** y = a b_g of some rows. */
function productIn(p: Product, group: number, begin: number, rows: number): Product {
  const first = group * (p.bTerms ? p.terms : p.cols);
  return {
    ...p,
    rows,
    a: p.a + begin * p.aPitch,
    b: p.b + first * p.bPitch,
    scales: p.scales + first * p.scalesPitch,
    y: p.y + begin * p.yPitch,
  };
}

/** y_g += aᵀ b over some rows. */
function sumOf(p: Product, group: number, begin: number, terms: number): Product {
  return {
    ...p,
    terms,
    a: p.a + begin * p.aPitch,
    b: p.b + begin * p.bPitch,
    y: p.y + group * p.rows * p.yPitch,
  };
}
