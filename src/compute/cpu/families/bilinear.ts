import type { DeviceBuffer } from "../../device/buffer.ts";
import type { DrawUnits, LambdaOrder, ScaledA, Unpack, Widen } from "../../device/families/bilinear.ts";
import { type Tensor, tensorIn } from "../../device/tensor.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { storedCode } from "../operands.ts";
import { cpuKernel, type Values } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";
import { BASIS, basisValues, DRAWN_UNITS } from "./basis.ts";
import { PAIRED_ROWS } from "./words.ts";

/** λ (r, n) in the order of B̂'s columns, zeros behind it: element q lies at λ[q / fast, q % fast] by these distances. */
export const LAMBDA_ORDER = cpuKernel("lambdaOrder", {
  terms: "u32",
  padded: "u32",
  /** Terms until the slow index changes. */
  fast: "u32",
  lambda: "row",
  /** Bytes to the next element in the fast and in the slow index. */
  fastBytes: "u32",
  slowBytes: "u32",
  target: "targetRow",
});

export function lambdaOrder(on: Dispatcher, { pairing, terms, padded, lambda, target }: LambdaOrder): void {
  const [rank, bases] = lambda.shape;
  const rowBytes = lambda.pitch * 4;
  const [fast, fastBytes, slowBytes] = pairing === "peft" ? [bases, 4, rowBytes] : [rank, rowBytes, 4];
  const to = tensorIn(target, [1, padded], "F32");
  on.dispatch(LAMBDA_ORDER, { terms, padded, fast, lambda, fastBytes, slowBytes, target: to }, 1);
}

/** Ŝ[q] = λ[k, j] · (A[k] ∘ γ[j]) for the pair of rows that makes row q; all F32. */
export const SCALED_A = cpuKernel("scaledA", {
  terms: "u32",
  cols: "u32",
  ...PAIRED_ROWS,
  target: "target",
  pieceRows: "u32",
});

export function scaledA(on: Dispatcher, { pairing, terms, cols, a, lambda, gamma, target }: ScaledA): void {
  const [rank, bases] = lambda.shape;
  const { pieceRows, count } = rowPieces(terms, cols);
  on.dispatch(
    SCALED_A,
    {
      terms,
      cols,
      bases,
      rank,
      peft: pairing === "peft",
      a,
      lambda,
      gamma,
      target: tensorIn(target, [terms, cols], "F32"),
      pieceRows,
    },
    count,
  );
}

/** y = x in f32, rows of whole vectors of 4. */
export const WIDEN = cpuKernel("widen", {
  rows: "u32",
  vectors: "u32",
  x: "stored",
  y: "target",
  pieceRows: "u32",
});

export function widen(on: Dispatcher, { x, y }: Widen): void {
  const [rows, cols] = x.shape;
  const { pieceRows, count } = rowPieces(rows, cols);
  on.dispatch(WIDEN, { rows, vectors: Math.ceil(cols / 4), x, y, pieceRows }, count);
}

/** Rows and columns of a basis as numbers of 16 or 32 bits; what pads a row of the target becomes zero. */
export const UNPACK = cpuKernel("unpack", {
  ...BASIS,
  firstRow: "u32",
  firstCol: "u32",
  rows: "u32",
  cols: "u32",
  /** Rows of whole vectors of 4. */
  target: "target",
  /** Of the target. */
  dtype: "u32",
  pieceRows: "u32",
});

/** Which columns of a basis, from which of its rows on. */
interface BasisPart {
  readonly firstRow: number;
  readonly firstCol: number;
  readonly cols: number;
}

/** Elements of a basis as numbers, and zeros behind them as far as the target's rows are apart. */
export function unpackPart(on: Dispatcher, basis: Values<typeof BASIS>, part: BasisPart, target: Tensor): void {
  const [rows] = target.shape;
  const { pieceRows, count } = rowPieces(rows, target.pitch);
  on.dispatch(UNPACK, { ...basis, ...part, rows, target, dtype: storedCode("unpacking", target), pieceRows }, count);
}

export function unpack(on: Dispatcher, { basis, unpacked, first, rows, cols, target, pitch }: Unpack): void {
  if (basis.storage !== "ternary" && basis.storage !== "philox") {
    throw new TypeError(`${basis.buffer.label}: ${basis.storage} is not packed`);
  }
  const values = basisValues(basis);
  const isDense = basis.philox?.sparsity === "dense";
  const to = wholeRows(target, unpacked === "f16" ? "F16" : "BF16", rows, pitch);
  const storage = unpacked === "units" && isDense ? DRAWN_UNITS : values.storage;
  unpackPart(on, { ...values, storage }, { firstRow: first, firstCol: 0, cols }, to);
}

export function drawUnits(on: Dispatcher, { key, stream, stride, target, rows, pitch, ...part }: DrawUnits): void {
  const [keyLow, keyHigh] = key;
  const drawn = { drawn: stride, stream, keyLow, keyHigh, threshold: 0, dropped: 0 };
  const basis = { storage: DRAWN_UNITS, at: undefined, rowBytes: 0, ...drawn };
  unpackPart(on, basis, part, wholeRows(target, "BF16", rows, pitch));
}

/** All numbers of rows, those that pad them too. */
function wholeRows(buffer: DeviceBuffer, dtype: "F16" | "BF16", rows: number, pitch: number): Tensor {
  return { buffer, dtype, shape: [rows, pitch], offset: 0, pitch };
}
