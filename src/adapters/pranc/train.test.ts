import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { DeviceBuffer } from "../../compute/device/buffer.ts";
import type { Device } from "../../compute/device/device.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { dropoutFactor } from "../../compute/random/dropout.ts";
import { philoxKey } from "../../compute/random/philox.ts";
import { Run } from "../../compute/tensor/run.ts";
import { Tape } from "../../compute/tensor/tape.ts";
import { sliceRows } from "../../compute/tensor/tensor.ts";
import { itemAt } from "../../files/item-at.ts";
import type { AdaptedModule, ProductsPlan } from "../delta/through-weights/held.ts";
import { TrainedWeights } from "../delta/through-weights/trained.ts";
import { error, numbers, placed, taken } from "../testing/bases.ts";
import { thetaProducts, thetaSum } from "../testing/theta.ts";
import { type Batch, frozen, IN, maskOf, newBatch, OUT, ROWS, sent, TOKENS } from "../testing/trained-bilinear.ts";
import { thetaOffsets } from "./stream.ts";
import { thetaModule } from "./method.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const SEED = 5n;
const BASES = 12;
const SCALES = [0.3, 0.2, 0.4];
const PLANS = {
  "nothing held": { kept: false, summed: false },
  "W' held": { kept: true, summed: false },
  "G summed": { kept: false, summed: true },
  "both held": { kept: true, summed: true },
} as const satisfies Readonly<Record<string, ProductsPlan>>;

interface Case {
  readonly plan: ProductsPlan;
  readonly dtype?: "F32" | "BF16";
  readonly rate?: number;
}

/** The adapted modules of the joined matrix. */
function layersOf() {
  let first = 0;
  const adapted = ROWS.flatMap(({ name, out, adapted: is }) => {
    const rows = { name, out, in: IN, first };
    first += out;
    return is ? [rows] : [];
  });
  const offsets = thetaOffsets(adapted);
  return adapted.map((rows, index) => ({
    ...rows,
    index,
    offset: itemAt(offsets, index),
    scale: itemAt(SCALES, index),
  }));
}

/** y, ∂loss/∂x and ∂loss/∂α of one micro-batch in f64, with W' = W + scale · Σ α_i θ_i written out. */
function reference(
  weight: ArrayLike<number>,
  alpha: ArrayLike<number>,
  { tokens, x, dy, bias, residual }: Batch,
  factor: (index: number, token: number, i: number) => number,
) {
  const y = Float64Array.from(residual, (value, at) => value + itemAt(bias, at % OUT));
  const dx = new Float64Array(tokens * IN);
  const dAlpha = new Float64Array(alpha.length);
  const pass = (o: number, t: number, i: number, w: number, kept: number) => {
    y[t * OUT + o] = itemAt(y, t * OUT + o) + itemAt(x, t * IN + i) * kept * w;
    dx[t * IN + i] = itemAt(dx, t * IN + i) + itemAt(dy, t * OUT + o) * kept * w;
  };
  for (let t = 0; t < tokens; t++) {
    for (let o = 0; o < OUT; o++) for (let i = 0; i < IN; i++) pass(o, t, i, itemAt(weight, o * IN + i), 1);
  }
  for (const { out, first, offset, scale, index } of layersOf()) {
    const layer = { seed: SEED, out, in: IN, offset };
    const delta = thetaSum(layer, alpha);
    const g = new Float64Array(out * IN);
    for (let t = 0; t < tokens; t++) {
      for (let o = 0; o < out; o++) {
        for (let i = 0; i < IN; i++) {
          const kept = factor(index, t, i);
          pass(first + o, t, i, scale * itemAt(delta, o * IN + i), kept);
          g[o * IN + i] = itemAt(g, o * IN + i) + itemAt(dy, t * OUT + first + o) * itemAt(x, t * IN + i) * kept;
        }
      }
    }
    thetaProducts(layer, g, alpha.length).forEach((value, i) => (dAlpha[i] = itemAt(dAlpha, i) + scale * value));
  }
  return { y, dx, dAlpha };
}

/** Scratch of the gradient of α. */
function partsOf(on: Device, bases: number): DeviceBuffer {
  return on.memory.allocate("parts", on.scratchBytes("thetaGradient", { bases }).parts);
}

async function train({ plan, dtype = "BF16", rate = 0 }: Case): Promise<Float64Array> {
  const live = gpu.memory.liveBytes;
  const weight = frozen(gpu, dtype);
  const alpha = numbers(BASES);
  const coefficients = placed(gpu, [1, BASES], alpha, 64);
  const gradient = placed(gpu, [1, BASES], new Float32Array(BASES), 128);
  const owner = new DisposableStack();
  const own = ownedBy(owner, gpu);
  const parts = partsOf(own, BASES);
  const trainedAlpha = { key: philoxKey(SEED), coefficients, gradient, parts };
  const modules = layersOf().map(({ name, first, index, ...layer }): AdaptedModule => {
    return { name, index, weight: sliceRows(weight.tensor, first, layer.out), ...thetaModule(layer, trainedAlpha) };
  });
  const trained = new TrainedWeights(own, modules, { dropout: rate > 0, plans: [plan] });
  const run = new Run(gpu);
  const tape = new Tape(run);
  trained.prepare(run);
  const wanted = new Float64Array(BASES);
  for (const [microBatch, tokens] of TOKENS.entries()) {
    const batch = newBatch(tokens);
    const masks = rate === 0 ? undefined : (module: number) => maskOf(rate, microBatch, module);
    const want = reference(weight.values, alpha, batch, (index, t, i) =>
      masks === undefined ? 1 : dropoutFactor(masks(index), t, i),
    );
    want.dAlpha.forEach((value, i) => (wanted[i] = itemAt(wanted, i) + value));
    const { y, dx } = await sent(gpu, { run, tape, linears: trained.linears(masks), weight: weight.tensor }, batch);
    expect(error(y, want.y), "y").toBeLessThan(1e-5);
    expect(error(dx, want.dx), "dx").toBeLessThan(1e-5);
  }
  trained.finish(run);
  await run.submit();
  const found = await taken(gpu, gradient);
  expect(error(found, wanted), "dα").toBeLessThan(1e-5);
  owner.dispose();
  run[Symbol.dispose]();
  for (const { buffer } of [coefficients, gradient, weight.tensor]) gpu.memory.release(buffer);
  expect(gpu.memory.liveBytes).toBe(live);
  return found;
}

describe("y and all gradients equal the f64 reference, over two micro-batches", () => {
  test.each(Object.entries(PLANS))("%s, dropout", async (_, plan) => void (await train({ plan, rate: 0.3 })));
  test.each(Object.entries(PLANS))("%s", async (_, plan) => void (await train({ plan })));
  test("both held, F32", async () => void (await train({ plan: PLANS["both held"], dtype: "F32" })));
});
