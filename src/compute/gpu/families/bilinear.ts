import type { MatrixFormat } from "../../device/dtype.ts";
import { BASIS_FORMATS } from "../../device/families/delta.ts";
import type { DrawUnits, LambdaOrder, ScaledA, Unpack, Unpacked, Widen } from "../../device/families/bilinear.ts";
import { pitchOf, sliceRows, type Tensor } from "../../device/tensor.ts";
import { storedDtype } from "../../device/weight.ts";
import { convertKernel, convertWidth } from "../kernels/convert.ts";
import { LAMBDA_ORDER_WIDTH, lambdaOrderKernel } from "../kernels/lambda-order.ts";
import { SCALED_A_WIDTH, scaledAKernel } from "../kernels/scaled-a.ts";
import { bind, rowBlocks, scalesOf } from "../bindings.ts";
import type { Dispatcher, Operand } from "../context.ts";
import { basisBlocks, drawing } from "./basis.ts";

export function lambdaOrder(on: Dispatcher, { pairing, terms, padded, lambda, target }: LambdaOrder): void {
  const { shape, pitch } = lambda;
  const from = bind(on, lambda);
  on.dispatch(
    lambdaOrderKernel(pairing),
    { terms, padded, bases: shape[1], rank: shape[0], at: from.offset, pitch },
    [from, target],
    [Math.ceil(padded / LAMBDA_ORDER_WIDTH)],
  );
}

export function scaledA(on: Dispatcher, { pairing, terms, cols, a, lambda, gamma, target }: ScaledA): void {
  const width = pitchOf(cols, "F32") / 4;
  const [l, g] = [bind(on, lambda), bind(on, gamma)];
  on.dispatch(
    scaledAKernel(pairing),
    { rows: terms, width, cols, bases: lambda.shape[1], rank: lambda.shape[0], aPitch: a.pitch, gamma: g, lambda: l },
    [a.buffer, l, g, { of: target, offset: 0, size: terms * width * 16 }],
    [Math.ceil(width / SCALED_A_WIDTH), terms],
  );
}

/** Matrices above the binding limit are taken in blocks of rows. */
export function widen(on: Dispatcher, { x, y }: Widen): void {
  const [rows, cols] = x.shape;
  const step = Math.min(rowBlocks(on, x)[0]?.rows ?? rows, rowBlocks(on, y)[0]?.rows ?? rows);
  for (let first = 0; first < rows; first += step) {
    const part = (tensor: Tensor) => sliceRows(tensor, first, Math.min(step, rows - first));
    const [from, to] = [bind(on, part(x)), bind(on, part(y))];
    const scales = scalesOf(on, part(x), from);
    convert(on, storedDtype("widening", x), "f32", {
      rows: from.rows,
      cols,
      width: Math.ceil(cols / 4),
      x: [from.offset / 4, from.pitch / 4],
      y: to,
      scalesAt: scales.at,
      bindings: [from, to, ...scales.bindings],
    });
  }
}

export function unpack(on: Dispatcher, { basis, unpacked, first, rows, cols, target, pitch }: Unpack): void {
  const { storage, philox } = basis;
  for (const block of basisBlocks(on, basis, first, rows)) {
    convert(on, BASIS_FORMATS[storage], unpacked, {
      rows: block.rows,
      cols,
      width: pitch / 4,
      x: block.place,
      y: { offset: block.first * pitch, pitch },
      stream: philox?.stream ?? 0,
      ...drawing(philox),
      bindings: [block, { of: target, offset: 0, size: rows * pitch * 2 }],
    });
  }
}

export function drawUnits(on: Dispatcher, { key, stream, stride, target, pitch, ...part }: DrawUnits): void {
  convert(on, "PHILOX", "units", {
    rows: part.rows,
    cols: part.cols,
    width: pitch / 4,
    first: part.firstCol,
    x: [part.firstRow, stride],
    y: { offset: 0, pitch },
    ...drawing({ key, sparsity: "dense", threshold: 0 }),
    stream,
    bindings: [undefined, { of: target, offset: 0, size: part.rows * pitch * 2 }],
  });
}

/** Parameters that convert.wgsl needs of every matrix, and those that are zero for most. */
type Converted = Pick<ConvertValues, "rows" | "cols" | "width" | "x" | "y"> &
  Partial<Omit<ConvertValues, "rowsY">> & { readonly bindings: readonly Operand[] };
type ConvertValues = Parameters<ReturnType<typeof convertKernel>["parameters"]>[0];

function convert(on: Dispatcher, from: MatrixFormat, to: "f32" | Unpacked, { bindings, ...values }: Converted): void {
  const { rows, width } = values;
  const rowsY = Math.min(rows, on.gpu.limits.maxComputeWorkgroupsPerDimension);
  const none = { first: 0, scalesAt: 0, stream: 0, ...drawing(undefined) };
  on.dispatch(convertKernel(from, to), { ...none, ...values, rowsY }, bindings, [
    Math.ceil(width / convertWidth(from)),
    rowsY,
    Math.ceil(rows / rowsY),
  ]);
}
