import { afterAll, beforeAll, expect, test } from "bun:test";
import { itemAt } from "../../../files/item-at.ts";
import type { Device } from "../../../compute/device/device.ts";
import { GUARANTEED_BINDING, openTestDevice } from "../../../compute/device/testing/open.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { read, uploaded } from "../../../compute/device/transfer.ts";
import { f32ToBf16 } from "../../../files/safetensors/numbers.ts";
import { bilinearShape } from "./shape.ts";
import type { Bases } from "../../frozen/drawing/draw.ts";
import { DeltaBases, deltaReference } from "./delta.ts";
import type { BasisMatrix } from "../../../compute/device/matrix-storage.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice({ limits: "guaranteed" });
});
afterAll(() => gpu.close());

const RANK = 16;
const [OUT, IN] = [8300, 16];
/** Elements in a row of B̂: that many rows are more than can be bound at once. */
const STRIDE = 8192;

/** A matrix of bf16 numbers in its first columns, zeros beyond. */
function basis(rows: number, cols: number, stride: number): BasisMatrix {
  const data = new Uint16Array(rows * stride);
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < RANK; col++) data[row * stride + col] = f32ToBf16(Math.sin(row * 17 + col * 3 + 1));
  }
  return { rows, cols, stride, storage: { kind: "bf16", data } };
}

test("a block of more rows than can be bound of B̂ is computed in parts, each beside the one before", async () => {
  const bases: Bases = {
    r: RANK,
    extent: { rows: OUT, bases: STRIDE / RANK, cols: IN },
    a: basis(RANK, IN, IN),
    b: basis(OUT, STRIDE, STRIDE),
    stdA: null,
    stdB: null,
  };
  const numbers = (count: number, seed: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(i * seed));
  const [lambda, gamma, earlier] = [numbers(RANK, 5), numbers(IN, 7), numbers(OUT * IN, 13)];
  const kernel = await DeltaBases.create(gpu, bases, "peft");
  expect(OUT * STRIDE * 2).toBeGreaterThan(GUARANTEED_BINDING);
  const shape = bilinearShape({ out: OUT, in: IN, r: RANK, bases: 1, tall: true });
  const layer = kernel.layer({ shape, weightIsTransposed: false, scale: 0.5, lambda, gamma });
  const target = uploaded(gpu, "target", earlier);
  using run = new Run(gpu);
  kernel.form(run, layer, { firstRow: 0, rows: OUT, pitch: IN, target, accumulate: true });
  await run.submit();
  const found = new Float32Array((await read(gpu, target)).buffer);
  const described = { shape, lambda, gamma, scale: 0.5, pairing: "peft" as const };
  const delta = deltaReference(bases, described);
  const wrong = found.findIndex((value, at) => !(Math.abs(value - itemAt(delta, at) - itemAt(earlier, at)) < 1e-5));
  expect(wrong).toBe(-1);
  gpu.memory.release(target);
  kernel.releaseLayer(layer);
  kernel.release();
});
