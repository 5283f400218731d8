// What is too large to bind at once, on a GPU that binds no more than each does.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import { GUARANTEED_BINDING, openTestDevice } from "../../compute/device/testing/open.ts";
import { philoxKey } from "../../compute/random/philox.ts";
import { Run } from "../../compute/tensor/run.ts";
import { type Tensor, tensorIn } from "../../compute/tensor/tensor.ts";
import { itemAt } from "../../files/item-at.ts";
import { bf16ToF32, f32ToBf16 } from "../../files/safetensors/numbers.ts";
import { TrainedWeights } from "../delta/through-weights/trained.ts";
import { error, numbers, placed, taken } from "../testing/bases.ts";
import { theta } from "../testing/theta.ts";
import { thetaModule } from "./method.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice({ limits: "guaranteed" });
});
afterAll(() => gpu.close());

const SEED = 5n;

/** Scratch of the gradient of α. */
const partsOf = (on: Pick<Device, "memory" | "scratchBytes">, bases: number) =>
  on.memory.allocate("parts", on.scratchBytes("thetaGradient", { bases }).parts);

test("W' above the binding limit is formed and multiplied with in blocks", async () => {
  const input = 32;
  const out = Math.floor(GUARANTEED_BINDING / input / 4) + 1000;
  const live = gpu.memory.liveBytes;
  // Zeros, but for the first rows of W.
  const values = numbers(8 * input);
  const weight = tensorIn(gpu.memory.allocate("W", out * input * 2), [out, input], "BF16");
  gpu.clear([weight.buffer]);
  gpu.write(weight.buffer, Uint16Array.from(values, f32ToBf16));
  const alpha = [0.5, -0.25];
  const [coefficients, gradient] = [placed(gpu, [1, 2], alpha), placed(gpu, [1, 2], [0, 0])];
  const shape = { out, in: input, offset: 2 ** 32 - 32, scale: 1 };
  const owner = new DisposableStack();
  const own = ownedBy(owner, gpu);
  const trainedAlpha = { key: philoxKey(SEED), coefficients, gradient, parts: partsOf(own, 2) };
  const modules = [{ name: "wide", weight, index: 0, ...thetaModule(shape, trainedAlpha) }];
  const trained = new TrainedWeights(own, modules, { dropout: false, plans: [{ kept: true, summed: false }] });
  const x = numbers(input);
  const onGpu: Tensor = placed(gpu, [1, input], x);
  const run = new Run(gpu);
  trained.prepare(run);
  const inputs = { x: onGpu, weight, bias: undefined, residual: undefined };
  const y = run.keep(trained.linears(undefined).apply(run, inputs));
  await run.submit();
  const found = await taken(gpu, y);
  const rows = [0, 7, 8, 99_999, Math.floor(out / 2), out - 1001, out - 1000, out - 1];
  const wanted = rows.map((row) =>
    x.reduce((sum, value, i) => {
      const w = row < 8 ? bf16ToF32(f32ToBf16(itemAt(values, row * input + i))) : 0;
      const at = BigInt(shape.offset + row * input + i);
      return sum + value * (w + alpha.reduce((all, one, basis) => all + one * theta(SEED, basis, at), 0));
    }, 0),
  );
  const ours = rows.map((row) => itemAt(found, row));
  expect(error(ours, wanted)).toBeLessThan(1e-5);
  owner.dispose();
  run[Symbol.dispose]();
  for (const { buffer } of [weight, coefficients, gradient, onGpu, y]) gpu.memory.release(buffer);
  expect(gpu.memory.liveBytes).toBe(live);
});

test("G above the binding limit is taken in blocks of rows", async () => {
  const input = 1024;
  const out = Math.floor(GUARANTEED_BINDING / input / 4) + 100;
  const offset = 2 ** 32 - 16 * 1024;
  const live = gpu.memory.liveBytes;
  const g = tensorIn(gpu.memory.allocate("G", out * input * 4), [out, input], "F32");
  // Zeros, but for some elements on both sides of the seam, at the begin and at the end.
  gpu.clear([g.buffer]);
  const places = [0, 15, 16, 1024, out - 131, out - 101, out - 100, out - 99, out - 1].map(
    (row) => [row, (row * 37) % input] as const,
  );
  const values = numbers(places.length);
  places.forEach(([row, col], at) => {
    gpu.write(g.buffer, Float32Array.of(itemAt(values, at)), (row * input + col) * 4);
  });
  const bases = 2;
  const target = placed(gpu, [1, bases], new Float32Array(bases));
  const parts = partsOf(gpu, bases);
  const run = new Run(gpu);
  const layer = { out, in: input, offset, scale: 1 };
  run.compute("thetaGradient", { layer, key: philoxKey(SEED), g, target, parts });
  await run.submit();
  const want = Array.from({ length: bases }, (_, i) =>
    places.reduce((sum, [row, col], at) => {
      return sum + itemAt(values, at) * theta(SEED, i, BigInt(offset) + BigInt(row) * BigInt(input) + BigInt(col));
    }, 0),
  );
  expect(error(await taken(gpu, target), want)).toBeLessThan(5e-6);
  for (const buffer of [g.buffer, target.buffer, parts]) gpu.memory.release(buffer);
  run[Symbol.dispose]();
  expect(gpu.memory.liveBytes).toBe(live);
});
