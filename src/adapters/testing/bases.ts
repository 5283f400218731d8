import type { Device } from "../../compute/device/device.ts";
import { itemAt } from "../../files/item-at.ts";
import { read } from "../../compute/device/transfer.ts";
import { pitchOf, type Shape, type Tensor, tensorIn } from "../../compute/tensor/tensor.ts";
import { MemoryStdCache } from "./drawn-bases.ts";
import { type Bases, type BasesSpec, drawBases } from "../frozen/drawing/draw.ts";
import { drawFactors, type FactorsSpec } from "../frozen/drawing/factors.ts";
import { finishSteps } from "../frozen/drawing/bases.ts";
import type { BilinearShape } from "../delta/scaled-bases/shape.ts";

/** Every way in which bases are stored. */
export const STORED = {
  bf16: { generator: "torch-mt19937-bf16-v2", sparsity: "dense", grid: "bf16" },
  f16: { generator: "torch-mt19937-f16-v2", sparsity: "dense", grid: "f16" },
  f32: { generator: "torch-mt19937-f32", sparsity: "dense", grid: "f32" },
  ternary: { generator: "torch-mt19937-ternary", sparsity: "sparse", grid: "bf16" },
  philox: { generator: "philox-v1", sparsity: "dense", grid: "f32" },
  "philox, bf16": { generator: "philox-v1", sparsity: "dense", grid: "bf16" },
  "philox, f16": { generator: "philox-v1", sparsity: "dense", grid: "f16" },
  "philox, sparse": { generator: "philox-v1", sparsity: "sparse", grid: "f32" },
  "philox, very sparse": { generator: "philox-v1", sparsity: "very-sparse", grid: "f32" },
  "philox, very sparse, f16": { generator: "philox-v1", sparsity: "very-sparse", grid: "f16" },
} as const satisfies Record<string, Pick<BasesSpec, "generator" | "sparsity" | "grid">>;

export type Stored = keyof typeof STORED;

/** Bases for modules of these shapes, drawn a little larger than they need. */
export function basesFor(stored: Stored, modules: readonly BilinearShape[]): Bases {
  const most = (of: (shape: BilinearShape) => number) => Math.max(...modules.map(of));
  const extent = { rows: most(({ rows }) => rows), bases: most(({ bases }) => bases), cols: most(({ cols }) => cols) };
  const spec: BasesSpec = {
    ...STORED[stored],
    key: 11n,
    r: modules[0]?.r ?? 1,
    max: extent.rows + 5,
    min: Math.min(extent.cols + 3, extent.rows + 5),
  };
  return drawBases(spec, extent, new MemoryStdCache());
}

/** Factors for VeRA's modules of these shapes, drawn a little larger than they need. */
export function factorsFor(given: Pick<FactorsSpec, "generator" | "grid">, modules: readonly BilinearShape[]): Bases {
  const most = (of: "in" | "out") => Math.max(...modules.map((shape) => shape[of]));
  const extent = { in: most("in"), out: most("out") };
  const spec = { ...given, key: 11n, r: modules[0]?.r ?? 1, maxIn: extent.in + 5, maxOut: extent.out + 3 };
  return finishSteps(drawFactors(spec, extent));
}

/** Draws uniform numbers in −size … size that f32 holds; other ones on every call, the same for the same seed. */
export function numbersFrom(seed: number): (count: number, size?: number) => Float32Array<ArrayBuffer> {
  let state = seed;
  return (count, size = 1) =>
    Float32Array.from({ length: count }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state / 2 ** 31 - 1) * size;
    });
}

/** For tests that hold for any numbers: what a call draws depends on the calls before it, in other files as well. */
export const numbers = numbersFrom(1);

/** A matrix in GPU memory, of zeros where there are no numbers at all, rows padded with zeros; `begin` elements of something else before it. */
export function placed(gpu: Device, shape: Shape, data: ArrayLike<number>, begin = 0): Tensor {
  const [rows, cols] = shape;
  const pitch = pitchOf(cols, "F32");
  const padded = new Float32Array(begin + rows * pitch).fill(Number.NaN, 0, begin);
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      padded[begin + row * pitch + col] = data.length === 0 ? 0 : itemAt(data, row * cols + col);
    }
  }
  const buffer = gpu.memory.allocate("operand", padded.byteLength);
  gpu.write(buffer, padded);
  return { ...tensorIn(buffer, shape, "F32"), offset: begin };
}

/** The values of an F32 matrix or view. @throws Error when its padding within whole vectors is not zero */
export async function taken(
  gpu: Device,
  { buffer, shape, offset, pitch }: Tensor,
  padded = true,
): Promise<Float64Array> {
  const [rows, cols] = shape;
  const all = new Float32Array((await read(gpu, buffer)).buffer);
  const values = new Float64Array(rows * cols);
  for (let row = 0; row < rows; row++) {
    const begin = offset + row * pitch;
    values.set(all.subarray(begin, begin + cols), row * cols);
    const padding = all.subarray(begin + cols, begin + Math.ceil(cols / 4) * 4);
    if (padded && padding.some((value) => value !== 0)) throw new Error(`row ${row}: padding of ${padding.join(", ")}`);
  }
  return values;
}

/** The largest difference in units of the largest wanted value; NaN counts as infinite. */
export function error(found: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let largest = 1e-30;
  let worst = 0;
  for (let i = 0; i < wanted.length; i++) {
    largest = Math.max(largest, Math.abs(itemAt(wanted, i)));
    const difference = Math.abs(itemAt(found, i) - itemAt(wanted, i));
    worst = Number.isNaN(difference) ? Infinity : Math.max(worst, difference);
  }
  return worst / largest;
}
