import { gateOf, NORMED_GEMM } from "../../families/normed-linear.ts";
import type { Caller } from "../caller.ts";
import { wordsOf } from "../../parameters.ts";
import { productOf } from "./gemm.ts";
import { callRows } from "./rows.ts";
import { multiply, type Product } from "./product.ts";

const AT = wordsOf(NORMED_GEMM);

/** Where the module's `normedRows` puts what it normalizes, and where products are that will be gated, in a worker's scratch. */
const [ROWS, PRODUCTS] = [2 ** 19, 2 ** 18 + 256];

/**
 * A product of a few rows that are normalized first, and perhaps gated, for the same bits as of those commands.
 * @param again this worker has the rows, normalized, in its scratch from a piece before
 */
export function normedGemm(on: Caller, parameters: number, piece: number, again: boolean): void {
  if (!again) on.parts.normedRows(parameters, piece, on.begin);
  const word = on.reader(parameters, AT.count);
  const whole = productOf(word);
  const a = on.begin + ROWS;
  const p: Product = { ...whole, a, aPitch: Math.ceil(whole.terms / 4) * 16 };
  const pieceCols = word(AT.pieceCols);
  const first = piece * pieceCols;
  const cols = Math.min(pieceCols, p.cols - first);
  const gate = word(AT.gate);
  if (gate === 0) {
    multiply(on, p, 0, p.rows, first, cols);
    return;
  }
  const left = on.begin + PRODUCTS;
  const right = left + p.rows * pieceCols * 4;
  const yPitch = pieceCols * 4;
  multiply(on, { ...p, y: left - first * 4, yPitch }, 0, p.rows, first, cols);
  const behind = {
    b: p.b + p.cols * p.bPitch,
    bias: p.bias === 0 ? 0 : p.bias + p.cols * 4,
    scales: p.scales + p.cols * p.scalesPitch,
  };
  multiply(on, { ...p, ...behind, y: right - first * 4, yPitch }, 0, p.rows, first, cols);
  const y = p.y + first * 4;
  callRows(on, gateOf(gate).name, p.rows, Math.ceil(cols / 4), [
    [left, yPitch],
    [right, yPitch],
    [y, p.yPitch],
  ]);
}
