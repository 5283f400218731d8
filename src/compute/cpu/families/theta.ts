import { padded4 } from "../../device/families/delta.ts";
import { THETA_UNIT, type ThetaDelta, type ThetaGradient } from "../../device/families/theta.ts";
import { addedParts } from "../../device/families/strided-sums.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { bound } from "../operands.ts";
import { cpuKernel } from "../parameters.ts";
import { evenly, type Parts } from "../pieces.ts";
import { stridedSums } from "./strided-sums.ts";

/** Elements that are drawn in a piece of some length, over all bases. */
const PIECE_DRAWS = 2 ** 16;

/**
 * target (+)= scale · Σ_i α[i] · θ_i. A line is a run of elements that are neighbors in the bases: a row of ΔW, or where the
 * target is stored (in, out), the part of one that crosses the target's rows.
 */
export const THETA_DELTA = cpuKernel("thetaDelta", {
  lines: "u32",
  /** Elements of a line. */
  count: "u32",
  beginLow: "u32",
  beginHigh: "u32",
  /** Elements from line to line in the bases. */
  lineElements: "u32",
  keyLow: "u32",
  keyHigh: "u32",
  bases: "u32",
  alpha: "row",
  target: "pointer",
  /** Bytes from line to line, and from element to element, of the target. */
  lineBytes: "u32",
  elementBytes: "u32",
  accumulate: "flag",
  scale: "f32",
  /** What pads a row of the target becomes zero: elements after each line, or lines after the last one. */
  padElements: "u32",
  padLines: "u32",
  pieceLines: "u32",
});

export function thetaDelta(on: Dispatcher, { layer, key, coefficients, transposed, block }: ThetaDelta): void {
  const { out, in: input, offset, scale } = layer;
  const { firstRow, rows, target, at = 0, pitch, accumulate = false } = block;
  const [, bases] = coefficients.shape;
  const [lines, count] = transposed ? [out, rows] : [rows, input];
  const width = transposed ? out : input;
  const size = Math.max(1, Math.floor(PIECE_DRAWS / (count * bases)));
  on.dispatch(
    THETA_DELTA,
    {
      lines,
      count,
      ...positionWords(offset + (transposed ? firstRow : firstRow * input)),
      lineElements: input,
      keyLow: key[0],
      keyHigh: key[1],
      bases,
      alpha: coefficients,
      target: {
        buffer: target,
        offset: at * 4,
        size: ((rows - 1) * pitch + padded4(width)) * 4,
        access: "write",
      },
      lineBytes: transposed ? 4 : pitch * 4,
      elementBytes: transposed ? pitch * 4 : 4,
      accumulate,
      scale: scale * THETA_UNIT,
      padElements: transposed ? 0 : padded4(width) - width,
      padLines: transposed ? padded4(width) - width : 0,
      pieceLines: size,
    },
    Math.ceil(lines / size),
  );
}

/** parts[slice, i] = Σ_e G[e] · θ_i[e] over a slice of the rows of G = ∂loss/∂ΔW. */
export const THETA_GRADIENT = cpuKernel("thetaGradient", {
  rows: "u32",
  cols: "u32",
  g: "matrix",
  beginLow: "u32",
  beginHigh: "u32",
  keyLow: "u32",
  keyHigh: "u32",
  bases: "u32",
  parts: "pointer",
  sliceRows: "u32",
  /** Bases of a piece, and pieces side by side. */
  pieceBases: "u32",
  pieces: "u32",
});

/** Bases of a piece at most; pieces that keep any number of threads busy. */
const PIECE_BASES = 256;
const BUSY = 32;

/** Partial sums follow from shapes alone, because they decide about bits. */
function mostSlices(bases: number): number {
  return Math.ceil(BUSY / Math.ceil(bases / PIECE_BASES));
}

function slicesOf(rows: number, bases: number): Parts {
  return evenly(rows, Math.ceil(rows / mostSlices(bases)), 1);
}

/** Bytes of partial sums that any layer takes at most. */
export function thetaPartBytes(bases: number): number {
  return mostSlices(bases) * bases * 4;
}

export function thetaGradient(on: Dispatcher, { layer, key, g, target, parts }: ThetaGradient): void {
  const [rows, cols] = g.shape;
  const [, bases] = target.shape;
  const slices = slicesOf(rows, bases);
  const chunks = evenly(bases, PIECE_BASES, 1);
  on.dispatch(
    THETA_GRADIENT,
    {
      rows,
      cols,
      g,
      ...positionWords(layer.offset),
      keyLow: key[0],
      keyHigh: key[1],
      bases,
      parts: { ...bound(parts), access: "write" },
      sliceRows: slices.size,
      pieceBases: chunks.size,
      pieces: chunks.count,
    },
    slices.count * chunks.count,
  );
  const steps = { row: 0, col: 1, term: bases };
  stridedSums(on, addedParts(parts, slices.count, steps, target, layer.scale * THETA_UNIT));
}

/** A position in the bases, which may be beyond 32 bits. */
function positionWords(position: number): { readonly beginLow: number; readonly beginHigh: number } {
  return { beginLow: position % 2 ** 32, beginHigh: Math.floor(position / 2 ** 32) };
}
