import { expect, test } from "bun:test";
import { ownedBy } from "../../../compute/device/owned.ts";
import { GUARANTEED_BINDING, openTestDevice } from "../../../compute/device/testing/open.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { tensorIn } from "../../../compute/tensor/tensor.ts";
import { itemAt } from "../../../files/item-at.ts";
import { bf16ToF32, f32ToBf16 } from "../../../files/safetensors/numbers.ts";
import { randloraShape } from "../../randlora/plan.ts";
import { basesFor, error, numbers, placed, taken } from "../../testing/bases.ts";
import { SCALE } from "../../testing/trained-bilinear.ts";
import { deltaReference } from "./delta.ts";
import type { TrainedModule } from "./factored.ts";
import type { OrderPlan } from "./shape.ts";
import { TrainedBilinear } from "./trained.ts";
import { TrainingBases } from "./training-bases.ts";

test("W' above the binding limit is formed and multiplied with in blocks", async () => {
  using gpu = await openTestDevice({ limits: "guaranteed" });
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
