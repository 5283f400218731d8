import type { DrawUnits, LambdaOrder, ScaledA, Unpack, Widen } from "../../device/families/bilinear.ts";
import { pitchOf, sliceRows } from "../../device/tensor.ts";
import { storedDtype } from "../../device/weight.ts";
import { LAMBDA_ORDER_WIDTH, lambdaOrderKernel, lambdaOrderParameters } from "../../kernels/lambda-order.ts";
import { SCALED_A_WIDTH, scaledAKernel, scaledAParameters } from "../../kernels/scaled-a.ts";
import { UNPACK_COLS, unpackKernel, unpackParameters } from "../../kernels/unpack.ts";
import { WIDEN_WIDTH, widenKernel, widenParameters } from "../../kernels/widen.ts";
import { bind, rowBlocks, scalesOf } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";

/** The kernel of `unpack` counts elements in 32 bits. */
const MOST_CODE_BYTES = 2 ** 29;

export function lambdaOrder(on: Dispatcher, { pairing, terms, padded, lambda, target }: LambdaOrder): void {
  const { shape, pitch } = lambda;
  const from = bind(on, lambda);
  on.dispatch(
    lambdaOrderKernel(pairing),
    lambdaOrderParameters({ terms, padded, bases: shape[1], rank: shape[0], at: from.offset, pitch }),
    [from.binding, target],
    [Math.ceil(padded / LAMBDA_ORDER_WIDTH)],
  );
}

export function scaledA(on: Dispatcher, { pairing, terms, cols, a, lambda, gamma, target }: ScaledA): void {
  const width = pitchOf(cols, "F32") / 4;
  const [l, g] = [bind(on, lambda), bind(on, gamma)];
  on.dispatch(
    scaledAKernel(pairing),
    scaledAParameters({
      rows: terms,
      width,
      cols,
      bases: lambda.shape[1],
      rank: lambda.shape[0],
      aPitch: a.pitch / 4,
      gamma: [g.offset / 4, gamma.pitch / 4],
      lambda: [l.offset, lambda.pitch],
    }),
    [a.buffer, l.binding, g.binding, { of: target, offset: 0, size: terms * width * 16 }],
    [Math.ceil(width / SCALED_A_WIDTH), terms],
  );
}

/** Matrices above the binding limit are taken in blocks of rows. */
export function widen(on: Dispatcher, { x, y }: Widen): void {
  const [rows, cols] = x.shape;
  const width = Math.ceil(cols / 4);
  const step = Math.min(rowBlocks(on, x)[0]?.rows ?? rows, rowBlocks(on, y)[0]?.rows ?? rows);
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const part = sliceRows(x, first, count);
    const [from, to] = [bind(on, part), bind(on, sliceRows(y, first, count))];
    const scales = scalesOf(on, part, from);
    const rowsY = Math.min(count, on.gpu.limits.maxComputeWorkgroupsPerDimension);
    on.dispatch(
      widenKernel(storedDtype("widening", x)),
      widenParameters({
        rows: count,
        width,
        x: [from.offset / 4, x.pitch / 4],
        y: [to.offset / 4, y.pitch / 4],
        rowsY,
        scalesAt: scales.at,
      }),
      [from.binding, to.binding, ...scales.bindings],
      [Math.ceil(width / WIDEN_WIDTH), rowsY, Math.ceil(count / rowsY)],
    );
  }
}

export function unpack(on: Dispatcher, { basis, unpacked, first, rows, cols, target, pitch }: Unpack): void {
  const { buffer, stride, storage, philox } = basis;
  if (storage !== "ternary" && storage !== "philox") throw new TypeError(`${buffer.label}: ${storage} is not packed`);
  const rowBytes = storage === "ternary" ? stride / 4 : 0;
  const bound = rowBytes > 0 && buffer.size > Math.min(on.gpu.limits.maxStorageBufferBindingSize, MOST_CODE_BYTES);
  const offset = bound ? Math.floor((first * rowBytes) / 256) * 256 : 0;
  // Rows of two-bit codes are whole words, but a binding begins at whole 256 bytes: some rows before, some words.
  const skipped = (first * rowBytes - offset) / 4;
  on.dispatch(
    unpackKernel(storage, unpacked),
    unpackParameters({
      rows,
      cols,
      firstRow: philox === undefined ? 0 : first,
      firstCol: philox === undefined ? skipped * 16 : 0,
      stride: philox?.pitch ?? stride,
      targetPitch: pitch,
      stream: 1,
      threshold: philox?.threshold ?? 0,
      key: philox?.key ?? [0, 0],
      dense: philox?.sparsity === "dense",
    }),
    [
      bound ? { of: buffer, offset, size: first * rowBytes - offset + rows * rowBytes } : buffer,
      { of: target, offset: 0, size: rows * pitch * 2 },
    ],
    [Math.ceil(pitch / UNPACK_COLS), rows],
  );
}

export function drawUnits(on: Dispatcher, { key, stream, target, pitch, ...part }: DrawUnits): void {
  on.dispatch(
    unpackKernel("philox", "units"),
    unpackParameters({ ...part, targetPitch: pitch, stream, threshold: 0, key, dense: true }),
    [on.nothing, { of: target, offset: 0, size: part.rows * pitch * 2 }],
    [Math.ceil(pitch / UNPACK_COLS), part.rows],
  );
}
