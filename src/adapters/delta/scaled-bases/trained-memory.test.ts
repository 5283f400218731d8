import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../../compute/device/device.ts";
import { ownedBy } from "../../../compute/device/owned.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { sliceRows } from "../../../compute/tensor/tensor.ts";
import { place } from "../../../compute/tensor/cases/placed.ts";
import { randloraShape } from "../../randlora/plan.ts";
import { basesFor, placed } from "../../testing/bases.ts";
import { frozen, IN, modulesOf, OUT, PLANS, RANK } from "../../testing/trained-bilinear.ts";
import { fuse } from "../through-weights/held.ts";
import type { TrainedModule } from "./factored.ts";
import { orderBytes } from "./place.ts";
import type { BilinearShape } from "./shape.ts";
import { TrainedBilinear } from "./trained.ts";
import { TrainingBases } from "./training-bases.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

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
