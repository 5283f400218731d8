import { type Delta, type DeltaBasis, padded4 } from "../../device/families/delta.ts";
import { pitchOf } from "../../device/tensor.ts";
import { isTernary } from "../../device/ternary-rows.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { bound } from "../operands.ts";
import type { Members, Pointer } from "../parameters.ts";
import { evenly } from "../pieces.ts";
import { BASIS, basisValues } from "./basis.ts";
import { type BasisPart, unpackedRows } from "./bilinear.ts";
import { TERNARY_PIECE } from "./ternary.ts";

const MEMBERS = {
  ...BASIS,
  fastCount: "u32",
  lambda: "pointer",
  fast: "pointer",
  fastPitch: "u32",
  slow: "pointer",
  slowPitch: "u32",
  rows: "u32",
  cols: "u32",
  target: "pointer",
  pitch: "u32",
  transposed: "flag",
  accumulate: "flag",
  scale: "f32",
  terms: "u32",
  firstRow: "u32",
  pieceRows: "u32",
  pieceCols: "u32",
  pieces: "u32",
} as const satisfies Members;

export const DELTA = { name: "delta", members: MEMBERS } as const;
export const TERNARY_DELTA = { name: "ternaryDelta", members: MEMBERS } as const;

/**
 * Rows of B̂ and columns of Ŝ that a piece has at most, and what they are multiples of: Ŝ's panels of a block of terms stay in
 * the second-level cache, and rows enough make up for forming them.
 */
const PIECE = {
  delta: { rows: 192, cols: 256, rowStep: 6, colStep: 8 },
  ternary: TERNARY_PIECE,
} as const;

export function delta(on: Dispatcher, operands: Delta): void {
  const { pairing, a, b, lambda, terms, fastCount, transposed, scale, block } = operands;
  const { firstRow, rows: blockRows, target, at = 0, pitch, accumulate = false } = block;
  const [rows, cols] = transposed ? [operands.rows, blockRows] : [blockRows, operands.cols];
  const firstCol = transposed ? firstRow : 0;
  const rank = pairing === "peft" ? Math.ceil(terms / fastCount) : fastCount;
  const frozen = frozenOperand(on, a, { rows: rank, firstCol, cols });
  const trained = { at: shifted(bound(operands.gamma), firstCol * 4), pitch: padded4(operands.cols) * 4 };
  const [fast, slow] = pairing === "peft" ? [trained, frozen] : [frozen, trained];
  const ternary = isTernary(b);
  const most = PIECE[ternary ? "ternary" : "delta"];
  const acrossCols = evenly(cols, most.cols, most.colStep);
  const wanted = Math.ceil((4 * on.threads) / acrossCols.count);
  const downRows = evenly(rows, Math.min(most.rows, Math.ceil(rows / wanted)), most.rowStep);
  const [targetRows, targetCols] = transposed ? [cols, rows] : [rows, cols];
  on.dispatch(
    ternary ? TERNARY_DELTA : DELTA,
    {
      ...basisValues(b),
      fastCount,
      lambda: bound(lambda),
      fast: fast.at,
      fastPitch: fast.pitch,
      slow: slow.at,
      slowPitch: slow.pitch,
      rows,
      cols,
      target: {
        buffer: target,
        offset: at * 4,
        size: ((targetRows - 1) * pitch + padded4(targetCols)) * 4,
        access: accumulate ? "change" : "write",
      },
      pitch: pitch * 4,
      transposed,
      accumulate,
      scale: scale * a.value * b.value,
      terms,
      firstRow: transposed ? 0 : firstRow,
      pieceRows: downRows.size,
      pieceCols: acrossCols.size,
      pieces: acrossCols.count,
    },
    acrossCols.count * downRows.count,
  );
  if (frozen.isScratch) on.memory.release(frozen.at.buffer);
}

/** A from one of its columns on, in f32 as it lies or in scratch, and the bytes from row to row. */
function frozenOperand(on: Dispatcher, a: DeltaBasis, part: BasisPart) {
  if (a.storage === "f32") {
    return { at: shifted(bound(a.buffer), part.firstCol * 4), pitch: a.stride * 4, isScratch: false };
  }
  return { at: unpackedRows(on, a, part), pitch: pitchOf(part.cols, "F32") * 4, isScratch: true };
}

function shifted(pointer: Pointer, bytes: number): Pointer {
  return { ...pointer, offset: pointer.offset + bytes, size: pointer.size - bytes };
}
