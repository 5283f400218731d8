import { type Delta, type DeltaBasis, padded4 } from "../../device/families/delta.ts";
import type { DeviceBuffer } from "../../device/buffer.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";
import type { Shape, Tensor } from "../../device/tensor.ts";
import { isTernary } from "../../device/ternary-rows.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { bound } from "../operands.ts";
import { cpuKernel } from "../parameters.ts";
import { evenly } from "../pieces.ts";
import { BASIS, basisValues } from "./basis.ts";
import { unpackPart } from "./bilinear.ts";
import { ternary } from "./ternary.ts";
import { DELTA_TARGET, SCALED_TERMS } from "./words.ts";

export const DELTA = cpuKernel("delta", {
  ...BASIS,
  ...SCALED_TERMS,
  ...DELTA_TARGET,
  terms: "u32",
  /** Of B̂. */
  firstRow: "u32",
  /** Rows and columns of a piece, and pieces side by side. */
  pieceRows: "u32",
  pieceCols: "u32",
  pieces: "u32",
});

/**
 * What a piece has at most, and what that is a multiple of: B̂'s rows are formed once for all its columns, and Ŝ's panels once for all
 * its rows. Whole tiles, and whole vectors of 4 where they run along the target.
 */
const PIECE = { rows: 112, rowStep: 28, cols: 2048, colStep: 32 } as const;

export function delta(on: Dispatcher, operands: Delta): void {
  const { pairing, a, b, lambda, terms, fastCount, transposed, scale, block } = operands;
  const { firstRow, rows: blockRows, target, at = 0, pitch, accumulate = false } = block;
  const [rows, cols] = transposed ? [operands.rows, blockRows] : [blockRows, operands.cols];
  const firstCol = transposed ? firstRow : 0;
  const slowCount = Math.ceil(terms / fastCount);
  const [rank, bases] = pairing === "peft" ? [slowCount, fastCount] : [fastCount, slowCount];
  const frozen = frozenOperand(on, a, rank, firstCol, cols);
  const gamma = bound(operands.gamma);
  const from = gamma.offset / 4 + firstCol;
  const trained = numbers(gamma.buffer, [bases, cols], from, padded4(operands.cols));
  const [fast, slow] = pairing === "peft" ? [trained, frozen] : [frozen, trained];
  const shared = {
    fastCount,
    lambda: bound(lambda),
    fast,
    slow,
    rows,
    cols,
    target: numbers(target, transposed ? [cols, rows] : [rows, cols], at, pitch),
    transposed,
    accumulate,
    scale: scale * a.value * b.value,
    terms,
  } as const;
  const first = transposed ? 0 : firstRow;
  if (isTernary(b)) ternary(on, { basis: b, first, shape: [rows, terms] }, false, { ...shared, x: undefined });
  else {
    const down = evenly(rows, PIECE.rows, PIECE.rowStep);
    const parts = Math.ceil((8 * on.threads) / down.count);
    const across = evenly(cols, Math.min(PIECE.cols, Math.ceil(cols / parts)), PIECE.colStep);
    const values = { ...basisValues(b), ...shared, firstRow: first, pieceRows: down.size, pieceCols: across.size };
    on.dispatch(on.chosen(DELTA), { ...values, pieces: across.count }, across.count * down.count);
  }
  if (frozen.buffer !== a.buffer) giveScratch(on, frozen);
}

/** A from one of its columns on, in f32 as it lies or in scratch. */
function frozenOperand(on: Dispatcher, a: DeltaBasis, rows: number, firstCol: number, cols: number): Tensor {
  if (a.storage === "f32") return numbers(a.buffer, [rows, cols], firstCol, a.stride);
  const unpacked = takeScratch(on, "true values of a basis", [rows, cols]);
  unpackPart(on, basisValues(a), { firstRow: 0, firstCol, cols }, unpacked);
  return unpacked;
}

function numbers(buffer: DeviceBuffer, shape: Shape, offset: number, pitch: number): Tensor {
  return { buffer, dtype: "F32", shape, offset, pitch };
}
