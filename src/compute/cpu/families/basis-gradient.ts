import type { BasisGradient, BasisGradientShape } from "../../device/families/bilinear.ts";
import { giveScratch } from "../../device/scratch.ts";
import { pitchOf } from "../../device/tensor.ts";
import { isTernaryRows } from "../../device/ternary-rows.ts";
import { addedParts } from "../../device/families/strided-sums.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { storedCode } from "../operands.ts";
import { cpuKernel, type Values } from "../parameters.ts";
import { evenly, type Parts } from "../pieces.ts";
import { CODES } from "./basis.ts";
import { inNumbers } from "./in-numbers.ts";
import { stridedSums } from "./strided-sums.ts";
import { codesOf } from "./ternary-codes.ts";
import { PAIRED_ROWS } from "./words.ts";

export const BASIS_GRADIENT = cpuKernel("basisGradient", {
  /** A format, of P (terms, rows), or CODES: the two-bit codes of Pᵀ. All else is F32. */
  storage: "u32",
  left: "matrix",
  /** Of dŜ: n·r, and m. */
  rows: "u32",
  cols: "u32",
  /** Tokens, or rows of B̂. */
  terms: "u32",
  /** Q (terms, cols). */
  right: "matrix",
  ...PAIRED_ROWS,
  /** (blocks of columns, rows) and (slices of rows, bases, columns). */
  lambdaParts: "pointer",
  gammaParts: "pointer",
  partPitch: "u32",
  sliceRows: "u32",
  blockCols: "u32",
  blocks: "u32",
});

/** Columns of a block at most, and rows that a slice is a multiple of. */
const [BLOCK_COLS, SLICE_ROWS] = [128, 96];
/** Pieces that keep any number of threads busy; partial sums of dγ take at most this much, unless one slice is more. */
const BUSY = 32;
const MOST_PART_BYTES = 16 * 2 ** 20;

/** Blocks of columns and slices of rows of dŜ (n·r, m): they decide about bits, so they follow from its shape alone. */
function split({ cols, terms, bases }: BasisGradientShape): { readonly blocks: Parts; readonly slices: Parts } {
  const blocks = evenly(cols, BLOCK_COLS, 16);
  const fitting = Math.max(1, Math.floor(MOST_PART_BYTES / (bases * pitchOf(cols, "F32") * 4)));
  const wanted = Math.min(Math.ceil(BUSY / blocks.count), fitting);
  return { blocks, slices: evenly(terms, Math.ceil(terms / wanted), SLICE_ROWS) };
}

/** Bytes of the partial sums. */
export function partBytes(shape: BasisGradientShape): { readonly lambdaParts: number; readonly gammaParts: number } {
  const { blocks, slices } = split(shape);
  return {
    lambdaParts: blocks.count * shape.terms * 4,
    gammaParts: slices.count * shape.bases * pitchOf(shape.cols, "F32") * 4,
  };
}

export function basisGradient(on: Dispatcher, gradient: BasisGradient): void {
  const { left } = gradient;
  if (isTernaryRows(left)) {
    const codes = codesOf(on, left, true);
    record(on, gradient, { storage: CODES, left: codes });
    giveScratch(on, codes);
    return;
  }
  inNumbers(on, left, (numbers) => {
    record(on, gradient, { storage: storedCode("basis gradient", numbers), left: numbers });
  });
}

/** P, as it is stored. */
type Left = Pick<Values<typeof BASIS_GRADIENT.members>, "storage" | "left">;

function record(on: Dispatcher, gradient: BasisGradient, p: Left): void {
  const { shape, pairing, left, right, scale, a, lambda, gamma, lambdaParts, gammaParts } = gradient;
  const { terms: rows, cols, bases, r } = shape;
  const { blocks, slices } = split(shape);
  const bytes = partBytes(shape);
  const partPitch = pitchOf(cols, "F32");
  on.dispatch(
    on.chosen(BASIS_GRADIENT),
    {
      ...p,
      rows,
      cols,
      terms: left.shape[0],
      right,
      bases,
      rank: r,
      peft: pairing === "peft",
      a,
      lambda,
      gamma,
      lambdaParts: { buffer: lambdaParts, offset: 0, size: bytes.lambdaParts, access: "write" },
      gammaParts: { buffer: gammaParts, offset: 0, size: bytes.gammaParts, access: "write" },
      partPitch: partPitch * 4,
      sliceRows: slices.size,
      blockCols: blocks.size,
      blocks: blocks.count,
    },
    blocks.count * slices.count,
  );
  const ofLambda = pairing === "peft" ? { row: bases, col: 1, term: rows } : { row: 1, col: r, term: rows };
  stridedSums(on, addedParts(lambdaParts, blocks.count, ofLambda, gradient.lambdaGradient, scale));
  const ofGamma = { row: partPitch, col: 1, term: bases * partPitch };
  stridedSums(on, addedParts(gammaParts, slices.count, ofGamma, gradient.gammaGradient, scale));
}
