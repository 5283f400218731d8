import { afterAll, beforeAll, expect, test } from "bun:test";
import { Gpu } from "../../gpu/gpu.ts";
import { Stream } from "../../gpu/stream.ts";
import { read, uploaded } from "../../gpu/transfer.ts";
import { drawBases } from "../../bases/draw.ts";
import { defaultStaging, type Staging } from "../../kernels/staging.ts";
import { readStatistics } from "./delta-block.ts";
import { padded4 } from "./delta-dispatch.ts";
import { DeltaBases } from "./delta.ts";
import { bilinearShape } from "./shape.ts";

let gpu: Gpu;
beforeAll(async () => {
  gpu = await Gpu.open();
});
afterAll(() => gpu.close());

const RANK = 6;
/** Rows that end within a vector of 4; B̂'s rows are W's rows, or its columns. */
const SHAPES = [
  [45, 37],
  [37, 45],
  [9, 131],
] as const;
const DTYPES = ["F32", "BF16", "F16"] as const;
const STAGINGS: readonly (readonly [string, () => Staging])[] = [
  ["this GPU's", () => defaultStaging(gpu)],
  ["workgroup", () => ({ kind: "workgroup" })],
];

const trials = SHAPES.flatMap((shape) =>
  DTYPES.flatMap((dtype) => STAGINGS.map(([name, staging]) => [...shape, dtype, name, staging] as const)),
);

test.each(trials)("what pads the rows of W' is zero: %d×%d, %s, %s staging", async (out, in_, dtype, _, staging) => {
  const [max, min] = [Math.max(out, in_), Math.min(out, in_)];
  const n = Math.ceil(min / RANK);
  const extent = { rows: max, bases: n, cols: min };
  const spec = { generator: "philox-v1", key: 0n, r: RANK, max, min, sparsity: "dense", grid: "f32" } as const;
  const bases = drawBases(spec, extent, { get: () => null, set: () => {} });
  const kernel = await DeltaBases.create(gpu, bases, "peft", staging());
  const layer = kernel.layer({
    shape: bilinearShape({ out, in: in_, r: RANK, bases: n, tall: out >= in_ }),
    weightIsTransposed: false,
    scale: 0.5,
    lambda: new Float32Array(RANK * n).fill(1),
    gamma: new Float32Array(n * min).fill(1),
  });
  const pitch = padded4(in_);
  const size = dtype === "F32" ? 4 : 2;
  // Memory that was used before: NaN in every dtype.
  const nan = () => new Uint8Array(out * pitch * size).fill(0xff);
  const weight = nan();
  for (let row = 0; row < out; row++) weight.fill(0, row * pitch * size, (row * pitch + in_) * size);
  const [source, target] = [uploaded(gpu, "W", weight), uploaded(gpu, "W'", nan())];
  const block = {
    firstRow: 0,
    rows: out,
    pitch,
    weight: { buffer: source, dtype },
    target: { buffer: target, dtype },
  };
  const statistics = gpu.memory.allocate("statistics", kernel.statisticsBytes(layer, block));
  const stream = new Stream(gpu);
  kernel.record(stream, layer, block, statistics);
  stream.submit();
  const bytes = await read(gpu, target);
  const words = size === 4 ? new Uint32Array(bytes.buffer) : new Uint16Array(bytes.buffer);
  let zeros = 0;
  for (let row = 0; row < out; row++) {
    expect([...words.subarray(row * pitch + in_, (row + 1) * pitch)].every((word) => word === 0)).toBe(true);
    zeros += words.subarray(row * pitch, row * pitch + in_).filter((word) => word === 0).length;
  }
  expect(zeros).toBeLessThan(out);
  const { changed, notFinite } = readStatistics(await read(gpu, statistics));
  expect([changed, notFinite]).toEqual([out * in_ - zeros, 0]);
  for (const buffer of [source, target, statistics]) gpu.memory.release(buffer);
  kernel.releaseLayer(layer);
  kernel.release();
});
