import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../../compute/device/device.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { read, uploaded } from "../../../compute/device/transfer.ts";
import { drawBases } from "../../frozen/drawing/draw.ts";
import { padded4 } from "../../../compute/device/families/delta.ts";
import { DeltaBases } from "./delta.ts";
import { bilinearShape } from "./shape.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const RANK = 6;
/** Rows that end within a vector of 4; B̂'s rows are W's rows, or its columns. */
const SHAPES = [
  [45, 37],
  [37, 45],
  [9, 131],
] as const;

test.each(SHAPES)("what pads the rows of ΔW is zero: %d×%d", async (out, in_) => {
  const [max, min] = [Math.max(out, in_), Math.min(out, in_)];
  const n = Math.ceil(min / RANK);
  const extent = { rows: max, bases: n, cols: min };
  const spec = { generator: "philox-v1", key: 0n, r: RANK, max, min, sparsity: "dense", grid: "f32" } as const;
  const bases = drawBases(spec, extent, { get: () => null, set: () => {} });
  const kernel = await DeltaBases.create(gpu, bases, "peft");
  const layer = kernel.layer({
    shape: bilinearShape({ out, in: in_, r: RANK, bases: n, tall: out >= in_ }),
    weightIsTransposed: false,
    scale: 0.5,
    lambda: new Float32Array(RANK * n).fill(1),
    gamma: new Float32Array(n * min).fill(1),
  });
  const pitch = padded4(in_);
  // Memory that was used before.
  const target = uploaded(gpu, "ΔW", new Float32Array(out * pitch).fill(NaN));
  using run = new Run(gpu);
  kernel.form(run, layer, { firstRow: 0, rows: out, pitch, target });
  await run.submit();
  const values = new Float32Array((await read(gpu, target)).buffer);
  for (let row = 0; row < out; row++) {
    const padding = values.subarray(row * pitch + in_, (row + 1) * pitch);
    expect([...padding]).toEqual(Array.from(padding, () => 0));
    expect(values.subarray(row * pitch, row * pitch + in_).every((value) => value !== 0)).toBe(true);
  }
  gpu.memory.release(target);
  kernel.releaseLayer(layer);
  kernel.release();
});
