import { GEMM } from "../../families/gemm.ts";
import type { Caller, ParameterWords } from "../caller.ts";
import { STORED_DTYPES } from "../../../device/dtype.ts";
import { wordsOf } from "../../parameters.ts";
import { multiply, type Product } from "./product.ts";

const AT = wordsOf(GEMM);

/** The product that a command's parameters describe. */
export function productOf(word: ParameterWords): Product {
  return {
    rows: word(AT.rows),
    cols: word(AT.cols),
    terms: word(AT.terms),
    aTerms: word(AT.aTerms) !== 0,
    bTerms: word(AT.bTerms) !== 0,
    a: word(AT.a),
    aPitch: word(AT.aPitch),
    stored: STORED_DTYPES[word(AT.bDtype)] ?? "F32",
    b: word(AT.b),
    bPitch: word(AT.bPitch),
    scales: word(AT.bScales),
    scalesPitch: word(AT.bScalesPitch),
    y: word(AT.y),
    yPitch: word(AT.yPitch),
    bias: word(AT.bias),
    residual: word(AT.residual),
    residualPitch: word(AT.residualPitch),
    accumulate: word(AT.accumulate) !== 0,
    scale: word(AT.scale),
  };
}

/** One piece of a product. */
export function gemm(on: Caller, parameters: number, piece: number): void {
  const word = on.reader(parameters, AT.count);
  const p = productOf(word);
  const [pieces, pieceRows, pieceCols] = [word(AT.pieces), word(AT.pieceRows), word(AT.pieceCols)];
  const firstRow = Math.floor(piece / pieces) * pieceRows;
  const firstCol = (piece % pieces) * pieceCols;
  multiply(on, p, firstRow, Math.min(pieceRows, p.rows - firstRow), firstCol, Math.min(pieceCols, p.cols - firstCol));
}
