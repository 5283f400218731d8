import type { MatrixFormat } from "../../device/dtype.ts";
import { BASIS_FORMATS } from "../../device/families/delta.ts";
import type { DrawUnits, LambdaOrder, ScaledA, Unpack, Unpacked, Widen } from "../../device/families/bilinear.ts";
import { pitchOf, sliceRows, type Tensor } from "../../device/tensor.ts";
import { storedDtype } from "../../device/weight.ts";
import { bind, boundScales, rowBlocks } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";
import convertText from "../kernels/convert.wgsl" with { type: "text" };
import { gpuKernels } from "../kernels/family.ts";
import lambdaOrderText from "../kernels/lambda-order.wgsl" with { type: "text" };
import type { KernelValuesOf } from "../kernels/parameters.ts";
import scaledAText from "../kernels/scaled-a.wgsl" with { type: "text" };
import { basisBlocks, drawing } from "./basis.ts";

/** λ as the ΔW kernel reads it. */
const LAMBDA_ORDER = gpuKernels("lambda-order", lambdaOrderText, {
  parameters: {
    terms: "u32", // n·r
    padded: "u32",
    bases: "u32", // n
    rank: "u32", // r
    at: "u32", // elements before the first one
    pitch: "u32", // elements from row to row
  },
  bindings: ["lambda", "ordered"],
});

export function lambdaOrder(on: Dispatcher, { pairing, terms, padded, lambda: given, target }: LambdaOrder): void {
  const [rank, bases] = given.shape;
  const lambda = bind(on, given);
  const values = { terms, padded, bases, rank, at: lambda.offset, pitch: given.pitch, lambda, ordered: target };
  on.run(LAMBDA_ORDER({ PAIRING: pairing }), values, [Math.ceil(padded / 64)]);
}

/** Ŝ = λ·A·γ. */
const SCALED_A = gpuKernels("scaled-a", scaledAText, {
  parameters: {
    rows: "u32", // n·r
    width: "u32", // vectors of 4 in a row of Ŝ
    cols: "u32",
    bases: "u32", // n
    rank: "u32", // r
    aPitch: "inVectors",
    gamma: "vectors",
    lambda: "elements",
  },
  bindings: ["a", "lambda", "gamma", "s"],
});

export function scaledA(on: Dispatcher, { pairing, terms: rows, cols, a, target, ...scaling }: ScaledA): void {
  const width = pitchOf(cols, "F32") / 4;
  const [lambda, gamma] = [bind(on, scaling.lambda), bind(on, scaling.gamma)];
  const [rank, bases] = scaling.lambda.shape;
  const s = { of: target, offset: 0, size: rows * width * 16 };
  const values = { rows, width, cols, bases, rank, a: a.buffer, aPitch: a.pitch, lambda, gamma, s };
  on.run(SCALED_A({ PAIRING: pairing }), values, [Math.ceil(width / 64), rows]);
}

/** A matrix as numbers of another format. */
const CONVERT = gpuKernels("convert", convertText, {
  parameters: {
    rows: "u32",
    cols: "u32",
    width: "u32", // vectors of 4 in a row of y
    first: "u32", // elements of drawn rows before the first one
    x: "place", // as matrix.wgsl counts
    y: "vectors",
    rowsY: "u32", // rows of workgroups along y; the rest goes along z
    scalesAt: "u32",
    key: "vec2u", // these for what is drawn: draw.wgsl
    stream: "u32",
    threshold: "u32",
    dense: "flag",
  },
  bindings: ["x", "y", "scales?"],
});

/** Matrices above the binding limit are taken in blocks of rows. */
export function widen(on: Dispatcher, { x, y }: Widen): void {
  const [rows, cols] = x.shape;
  const step = Math.min(rowBlocks(on, x)[0]?.rows ?? rows, rowBlocks(on, y)[0]?.rows ?? rows);
  for (let first = 0; first < rows; first += step) {
    const part = (tensor: Tensor) => sliceRows(tensor, first, Math.min(step, rows - first));
    const [from, to] = [bind(on, part(x)), bind(on, part(y))];
    convert(on, storedDtype("widening", x), "f32", {
      rows: from.rows,
      cols,
      width: Math.ceil(cols / 4),
      y: to,
      ...boundScales(on, part(x), from),
      x: { ...from, place: [from.offset / 4, from.pitch / 4] },
    });
  }
}

export function unpack(on: Dispatcher, { basis, unpacked, first, rows, cols, target, pitch }: Unpack): void {
  const { storage, philox } = basis;
  const to = { of: target, size: rows * pitch * 2 };
  for (const x of basisBlocks(on, basis, first, rows)) {
    const y = { binding: { ...to, offset: 0 }, offset: x.first * pitch, pitch };
    const drawn = { stream: philox?.stream ?? 0, ...drawing(philox) };
    convert(on, BASIS_FORMATS[storage], unpacked, { rows: x.rows, cols, width: pitch / 4, x, y, ...drawn });
  }
}

export function drawUnits(on: Dispatcher, { key, stream, stride, target, pitch, ...part }: DrawUnits): void {
  const { rows, cols, firstRow, firstCol: first } = part;
  const y = { binding: { of: target, offset: 0, size: rows * pitch * 2 }, offset: 0, pitch };
  const x = { binding: undefined, place: [firstRow, stride] } as const;
  const drawn = { stream, ...drawing({ key, sparsity: "dense", threshold: 0 }) };
  convert(on, "PHILOX", "units", { rows, cols, width: pitch / 4, first, x, y, ...drawn });
}

type ConvertValues = KernelValuesOf<ReturnType<typeof CONVERT>>;

function convert(
  on: Dispatcher,
  from: MatrixFormat,
  to: "f32" | Unpacked,
  values: Pick<ConvertValues, "rows" | "cols" | "width" | "x" | "y"> & Partial<ConvertValues>,
): void {
  // A thread converts a block of drawn numbers, a word of codes, or one vector of 4.
  const isBasis = from === "PHILOX" || from === "TERNARY";
  const vectors = isBasis ? 4 : 1;
  const [DENSE, TARGET] = to === "units" ? ["philox_units", "bf16"] : ["philox_dense", to];
  const { rows, width } = values;
  const rowsY = Math.min(rows, on.gpu.limits.maxComputeWorkgroupsPerDimension);
  const none = { first: 0, scalesAt: 0, stream: 0, ...drawing(undefined) };
  on.run(
    CONVERT({ DTYPE: from, TARGET, VECTORS: vectors, BASIS: isBasis ? 1 : 0, DENSE }),
    { ...none, ...values, rowsY },
    [Math.ceil(width / (64 * vectors)), rowsY, Math.ceil(rows / rowsY)],
  );
}
