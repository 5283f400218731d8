import type { BasisGradient, BasisGradientShape } from "../../device/families/bilinear.ts";
import { type Matrix, pitchOf, sliceRows } from "../../device/tensor.ts";
import { matrixOf } from "../../device/ternary-rows.ts";
import { weightDtype } from "../../device/weight.ts";
import { addedParts } from "../../device/families/strided-sums.ts";
import { bind, rowBlocks } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";
import basisGradientText from "../kernels/basis-gradient.wgsl" with { type: "text" };
import { gpuKernels } from "../kernels/family.ts";
import { PRODUCT_TILE, productDefinitions } from "../kernels/product.ts";
import { rowsOfWork } from "../work.ts";
import { stridedSums } from "./strided-sums.ts";

/** Partial sums of dλ and dγ from PᵀQ. */
const KERNELS = gpuKernels("basis-gradient", basisGradientText, {
  parameters: {
    rows: "u32", // of dŜ: n·r
    cols: "u32", // m
    terms: "u32", // tokens, or rows of B̂
    sliceTiles: "u32", // tiles of rows in a slice
    p: "vectors",
    q: "vectors",
    bases: "u32", // n
    rank: "u32", // r
    aPitch: "inVectors",
    gamma: "vectors",
    lambda: "elements",
  },
  bindings: ["p", "right", "a", "lambda", "gamma", "lambdaParts", "gammaParts"],
});

/** Workgroups that keep a large graphics card busy. */
const BUSY = 512;
/** Partial sums of dγ take at most this much, unless one slice is more. */
const MOST_PART_BYTES = 16 * 2 ** 20;

/** How dŜ is divided among workgroups. */
export interface BasisGradientSplit {
  /** Blocks of columns; each has partial sums of dλ. */
  readonly colBlocks: number;
  /** Slices of the rows; each has partial sums of dγ. */
  readonly slices: number;
  /** Tiles of rows in a slice. */
  readonly sliceTiles: number;
  /** Bytes of either. */
  readonly lambdaParts: number;
  readonly gammaParts: number;
}

/** Divides dŜ (n·r, m) so that the GPU is busy and the partial sums stay far smaller than dŜ itself. */
export function splitBasisGradient({ cols, terms, bases }: BasisGradientShape): BasisGradientSplit {
  const colBlocks = Math.ceil(cols / PRODUCT_TILE.cols);
  const tiles = Math.ceil(terms / PRODUCT_TILE.rows);
  const sliceBytes = bases * pitchOf(cols, "F32") * 4;
  const most = Math.max(1, Math.min(tiles, Math.floor(MOST_PART_BYTES / sliceBytes)));
  const sliceTiles = Math.ceil(tiles / Math.min(Math.ceil(BUSY / colBlocks), most));
  const slices = Math.ceil(tiles / sliceTiles);
  return {
    colBlocks,
    slices,
    sliceTiles,
    lambdaParts: colBlocks * terms * 4,
    gammaParts: slices * sliceBytes,
  };
}

/** What is above the binding limit, or too much work at once, is taken in blocks of rows. */
export function basisGradient(on: Dispatcher, gradient: BasisGradient): void {
  const { right } = gradient;
  const left = matrixOf("basis gradient", gradient.left);
  const [terms] = left.shape;
  const { shape } = gradient;
  const step = Math.min(
    rowBlocks(on, left)[0]?.rows ?? terms,
    rowBlocks(on, right)[0]?.rows ?? terms,
    rowsOfWork(2 * shape.terms * shape.cols, 256),
  );
  for (let first = 0; first < terms; first += step) {
    const count = Math.min(step, terms - first);
    recordPart(on, { ...gradient, left: sliceRows(left, first, count), right: sliceRows(right, first, count) });
  }
}

/** Terms that can be bound at once. */
function recordPart(on: Dispatcher, gradient: Omit<BasisGradient, "left"> & { readonly left: Matrix }): void {
  const { shape, pairing, left, right, scale, a, lambda, gamma, lambdaParts, gammaParts } = gradient;
  const { terms, cols, bases, r } = shape;
  const { colBlocks, slices, sliceTiles } = splitBasisGradient(shape);
  const q = bind(on, right);
  const pitch = pitchOf(cols, "F32");
  const format = left.dtype === "TERNARY" ? left.dtype : weightDtype("basis gradient", { ...left, dtype: left.dtype });
  if (gamma.pitch !== pitch) throw new Error(`${gamma.buffer.label}: γ has a pitch of ${gamma.pitch}, not ${pitch}`);
  on.run(
    KERNELS({ DTYPE: format, PAIRING: pairing, ...productDefinitions("terms", "terms") }),
    {
      rows: terms,
      cols,
      terms: left.shape[0],
      sliceTiles,
      p: bind(on, left),
      q,
      right: q,
      bases,
      rank: r,
      a: a.buffer,
      aPitch: a.pitch,
      gamma: bind(on, gamma),
      lambda: bind(on, lambda),
      lambdaParts,
      gammaParts,
    },
    [colBlocks, slices],
    2 * terms * cols * left.shape[0],
  );
  const ofLambda = pairing === "peft" ? { row: bases, col: 1, term: terms } : { row: 1, col: r, term: terms };
  stridedSums(on, addedParts(lambdaParts, colBlocks, ofLambda, gradient.lambdaGradient, scale));
  const ofGamma = { row: pitch, col: 1, term: bases * pitch };
  stridedSums(on, addedParts(gammaParts, slices, ofGamma, gradient.gammaGradient, scale));
}
