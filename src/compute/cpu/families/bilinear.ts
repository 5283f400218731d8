import { DTYPE_CODES, type KernelDtype } from "../../device/dtype.ts";
import type { DeltaBasis } from "../../device/families/delta.ts";
import type { DrawUnits, LambdaOrder, ScaledA, Unpack, Widen } from "../../device/families/bilinear.ts";
import { pitchOf } from "../../device/tensor.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { bound, pitchBytes, pointer, SCALED, scaled } from "../operands.ts";
import type { CpuKernel, Members, Pointer, Values } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";
import { BASIS, basisValues, DRAWN_UNITS } from "./basis.ts";

/** λ (r, n) in the order of B̂'s columns, zeros behind it: element q lies at λ[q / fast, q % fast] by these distances. */
export const LAMBDA_ORDER = {
  name: "lambdaOrder",
  members: {
    terms: "u32",
    padded: "u32",
    /** Terms until the slow index changes. */
    fast: "u32",
    lambda: "pointer",
    /** Bytes to the next element in the fast and in the slow index. */
    fastBytes: "u32",
    slowBytes: "u32",
    target: "pointer",
  },
} as const satisfies CpuKernel<Members>;

export function lambdaOrder(on: Dispatcher, { pairing, terms, padded, lambda, target }: LambdaOrder): void {
  const [rank, bases] = lambda.shape;
  const [fast, fastBytes, slowBytes] =
    pairing === "peft" ? [bases, 4, pitchBytes(lambda)] : [rank, pitchBytes(lambda), 4];
  const to = { buffer: target, offset: 0, size: padded * 4, access: "write" } as const;
  on.dispatch(LAMBDA_ORDER, { terms, padded, fast, lambda: pointer(lambda), fastBytes, slowBytes, target: to }, 1);
}

/** Ŝ[q] = λ[k, j] · (A[k] ∘ γ[j]) for the pair of rows that makes row q; all F32, pitches in bytes. */
export const SCALED_A = {
  name: "scaledA",
  members: {
    terms: "u32",
    cols: "u32",
    bases: "u32",
    rank: "u32",
    /** q = k·n + j (PEFT's pairing), or j·r + k. */
    peft: "flag",
    a: "pointer",
    aPitch: "u32",
    lambda: "pointer",
    lambdaPitch: "u32",
    gamma: "pointer",
    gammaPitch: "u32",
    target: "pointer",
    targetPitch: "u32",
    pieceRows: "u32",
  },
} as const satisfies CpuKernel<Members>;

export function scaledA(on: Dispatcher, { pairing, terms, cols, a, lambda, gamma, target }: ScaledA): void {
  const [rank, bases] = lambda.shape;
  const targetPitch = pitchOf(cols, "F32") * 4;
  const { pieceRows, count } = rowPieces(terms, cols);
  on.dispatch(
    SCALED_A,
    {
      terms,
      cols,
      bases,
      rank,
      peft: pairing === "peft",
      a: pointer(a),
      aPitch: pitchBytes(a),
      lambda: pointer(lambda),
      lambdaPitch: pitchBytes(lambda),
      gamma: pointer(gamma),
      gammaPitch: pitchBytes(gamma),
      target: { buffer: target, offset: 0, size: terms * targetPitch, access: "write" },
      targetPitch,
      pieceRows,
    },
    count,
  );
}

/** y = x in f32, rows of whole vectors of 4; pitches in bytes. */
export const WIDEN = {
  name: "widen",
  members: {
    rows: "u32",
    vectors: "u32",
    x: "pointer",
    xPitch: "u32",
    ...SCALED,
    y: "pointer",
    yPitch: "u32",
    pieceRows: "u32",
  },
} as const satisfies CpuKernel<Members>;

export function widen(on: Dispatcher, { x, y }: Widen): void {
  const [rows, cols] = x.shape;
  const { pieceRows, count } = rowPieces(rows, cols);
  on.dispatch(
    WIDEN,
    {
      rows,
      vectors: Math.ceil(cols / 4),
      ...scaled("widening", x),
      x: pointer(x),
      xPitch: pitchBytes(x),
      y: pointer(y, "write"),
      yPitch: pitchBytes(y),
      pieceRows,
    },
    count,
  );
}

/** Rows and columns of a basis as numbers of 16 or 32 bits; what pads a row of the target becomes zero. */
export const UNPACK = {
  name: "unpack",
  members: {
    ...BASIS,
    firstRow: "u32",
    firstCol: "u32",
    rows: "u32",
    cols: "u32",
    target: "pointer",
    /** Elements from row to row of the target, a multiple of 4. */
    pitch: "u32",
    /** Of the target. */
    dtype: "u32",
    pieceRows: "u32",
  },
} as const satisfies CpuKernel<Members>;

/** Which elements of a basis, and what they become. */
interface UnpackedPart {
  readonly firstRow: number;
  readonly firstCol: number;
  readonly rows: number;
  readonly cols: number;
  readonly target: Pointer;
  /** Elements from row to row of the target. */
  readonly pitch: number;
  readonly dtype: KernelDtype;
}

/** Elements of a basis as numbers. */
export function unpackPart(on: Dispatcher, basis: Values<typeof BASIS>, { dtype, ...part }: UnpackedPart): void {
  const { pieceRows, count } = rowPieces(part.rows, part.pitch);
  on.dispatch(UNPACK, { ...basis, ...part, dtype: DTYPE_CODES[dtype], pieceRows }, count);
}

export function unpack(on: Dispatcher, { basis, unpacked, first, rows, cols, target, pitch }: Unpack): void {
  if (basis.storage !== "ternary" && basis.storage !== "philox") {
    throw new TypeError(`${basis.buffer.label}: ${basis.storage} is not packed`);
  }
  const values = basisValues(basis);
  const isDense = basis.philox?.sparsity === "dense";
  const dtype = unpacked === "f16" ? "F16" : "BF16";
  const to = { buffer: target, offset: 0, size: rows * pitch * 2, access: "write" } as const;
  const storage = unpacked === "units" && isDense ? DRAWN_UNITS : values.storage;
  const part = { firstRow: first, firstCol: 0, rows, cols, target: to, pitch, dtype } as const;
  unpackPart(on, { ...values, storage }, part);
}

export function drawUnits(on: Dispatcher, { key, stream, stride, target, pitch, ...part }: DrawUnits): void {
  const [keyLow, keyHigh] = key;
  const drawn = { drawn: stride, stream, keyLow, keyHigh, threshold: 0, dropped: 0 };
  const to = { buffer: target, offset: 0, size: part.rows * pitch * 2, access: "write" } as const;
  const basis = { storage: DRAWN_UNITS, at: undefined, rowBytes: 0, ...drawn };
  unpackPart(on, basis, { ...part, target: to, pitch, dtype: "BF16" });
}

/** Some columns of the first rows of a basis. */
export interface BasisPart {
  readonly rows: number;
  readonly firstCol: number;
  readonly cols: number;
}

/** These as f32 in scratch of the recording, rows of whole vectors. @returns where they are; release its buffer */
export function unpackedRows(on: Dispatcher, basis: DeltaBasis, part: BasisPart): Pointer {
  const pitch = pitchOf(part.cols, "F32");
  const buffer = on.memory.allocate("true values of a basis", part.rows * pitch * 4);
  const target = { ...bound(buffer), access: "write" } as const;
  unpackPart(on, basisValues(basis), { firstRow: 0, ...part, target, pitch, dtype: "F32" });
  return bound(buffer);
}
