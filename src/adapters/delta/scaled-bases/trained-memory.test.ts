import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../../compute/device/device.ts";
import { ownedBy } from "../../../compute/device/owned.ts";
import { GUARANTEED_BINDING, openTestDevice } from "../../../compute/device/testing/open.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { sliceRows, tensorIn } from "../../../compute/tensor/tensor.ts";
import { place } from "../../../compute/tensor/cases/placed.ts";
import { itemAt } from "../../../files/item-at.ts";
import { bf16ToF32, f32ToBf16 } from "../../../files/safetensors/numbers.ts";
import { randloraShape } from "../../randlora/plan.ts";
import { basesFor, error, numbers, placed, taken } from "../../testing/bases.ts";
import { frozen, IN, modulesOf, OUT, PLANS, RANK, SCALE } from "../../testing/trained-bilinear.ts";
import { fuse } from "../through-weights/fused.ts";
import { deltaReference } from "./delta-reference.ts";
import type { TrainedModule } from "./factored.ts";
import type { OrderPlan } from "./flops.ts";
import { orderBytes } from "./orders.ts";
import type { BilinearShape } from "./shape.ts";
import { TrainedBilinear } from "./trained.ts";
import { TrainingBases } from "./training-bases.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice({ limits: "guaranteed" });
});
afterAll(() => gpu.close());

test("W' above the binding limit is formed and multiplied with in blocks", async () => {
  const input = 32;
  const out = Math.floor(GUARANTEED_BINDING / input / 4) + 1000;
  const shape = randloraShape(out, input, 16);
  const { r, bases: n, cols } = shape;
  const cpu = basesFor("philox, sparse", [shape]);
  const bases = await TrainingBases.create(gpu, cpu, "peft");
  // Zeros, but for the first rows of W.
  const values = numbers(8 * input);
  const weight = tensorIn(gpu.memory.allocate("W", out * input * 2), [out, input], "BF16");
  gpu.clear([weight.buffer]);
  gpu.write(weight.buffer, Uint16Array.from(values, f32ToBf16));
  const [lambda, gamma, x] = [numbers(r * n), numbers(n * cols), numbers(input)];
  const tensors = { lambda: placed(gpu, [r, n], lambda), gamma: placed(gpu, [n, cols], gamma) };
  const gradients = { lambdaGradient: tensors.lambda, gammaGradient: tensors.gamma };
  const module: TrainedModule = { name: "wide", weight, shape, ...tensors, ...gradients };
  const plans: OrderPlan[] = [{ order: "merged-h", kept: true, summed: false }];
  const owner = new DisposableStack();
  const trained = new TrainedBilinear(ownedBy(owner, gpu), {
    bases,
    modules: [module],
    scale: SCALE,
    dropout: false,
    plans,
  });
  const onGpu = placed(gpu, [1, input], x);
  using run = new Run(gpu);
  trained.prepare(run);
  const inputs = { x: onGpu, weight, bias: undefined, residual: undefined };
  const y = run.keep(trained.linears(undefined).apply(run, inputs));
  await run.submit();
  const found = await taken(gpu, y);
  const rows = [0, 7, 8, 99_999, Math.floor(out / 2), out - 1001, out - 1000, out - 1];
  const layer = { shape, lambda, gamma, scale: SCALE, pairing: "peft" as const };
  const delta = deltaReference(cpu, layer, { rows, cols: Array.from({ length: input }, (_, c) => c) });
  const wanted = rows.map((row, at) =>
    x.reduce((sum, value, i) => {
      const w = row < 8 ? bf16ToF32(f32ToBf16(itemAt(values, row * input + i))) : 0;
      return sum + value * (w + itemAt(delta, at * input + i));
    }, 0),
  );
  expect(
    error(
      rows.map((row) => itemAt(found, row)),
      wanted,
    ),
  ).toBeLessThan(1e-5);
  owner.dispose();
  bases.release();
  for (const { buffer } of [weight, tensors.lambda, tensors.gamma, onGpu, y]) gpu.memory.release(buffer);
});

test("the plan's bytes are those that are allocated", async () => {
  const matrices = [
    { out: OUT, in: IN, modules: modulesOf().map(({ shape }) => shape) },
    { out: 24, in: 64, modules: [randloraShape(24, 64, RANK)] },
  ];
  const own = frozen(gpu, "BF16").tensor;
  const other = place(gpu, { matrix: { shape: [24, 64], data: new Float64Array(24 * 64) }, dtype: "BF16" });
  const tiny = placed(gpu, [1, 4], [0, 0, 0, 0]);
  const tensors = { lambda: tiny, gamma: tiny, lambdaGradient: tiny, gammaGradient: tiny };
  const modules: TrainedModule[] = [
    ...modulesOf().map(({ name, first, shape }) => ({
      name,
      shape,
      weight: sliceRows(own, first, shape.out),
      ...tensors,
    })),
    { name: "down", weight: other, shape: randloraShape(24, 64, RANK), ...tensors },
  ];
  const bases = await TrainingBases.create(
    gpu,
    basesFor(
      "ternary",
      matrices.flatMap((matrix) => matrix.modules),
    ),
    "peft",
  );
  const panelBytes = (shape: BilinearShape) => bases.operandBytes(shape);
  for (const plan of Object.values(PLANS)) {
    for (const dropout of [false, true]) {
      const before = gpu.memory.liveBytes;
      const plans = [plan, plan];
      const owner = new DisposableStack();
      expect(
        () => new TrainedBilinear(ownedBy(owner, gpu), { bases, modules, scale: 1, dropout, plans }),
      ).not.toThrow();
      const partBytes = (shape: BilinearShape) => bases.partBytes(shape);
      const terms = { partBytes, dropout, tokens: 0, panelBytes };
      expect(gpu.memory.liveBytes - before).toBe(orderBytes(matrices, plans, terms));
      owner.dispose();
      expect(gpu.memory.liveBytes).toBe(before);
    }
  }
  bases.release();
  for (const { buffer } of [own, other, tiny]) gpu.memory.release(buffer);
});

test("modules find their places in the joined matrix; rows of two modules are refused", () => {
  const { tensor } = frozen(gpu, "BF16");
  const rows = (name: string, first: number, count: number) => ({
    name,
    weight: sliceRows(tensor, first, count),
    shape: randloraShape(count, IN, RANK),
  });
  const [matrix, more] = fuse([rows("z", 76, 35), rows("q", 0, 44)]);
  expect(more).toBeUndefined();
  expect(matrix?.weight.shape).toEqual([OUT, IN]);
  expect(matrix?.parts.map(({ module, first }) => [module.name, first])).toEqual([
    ["q", 0],
    ["z", 76],
  ]);
  expect(() => fuse([rows("q", 0, 44), rows("k", 40, 20)])).toThrow("k: its rows are another module's");
  gpu.memory.release(tensor.buffer);
});
