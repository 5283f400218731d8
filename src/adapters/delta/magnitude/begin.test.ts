import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Device } from "../../../compute/device/device.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { randloraShape } from "../../randlora/plan.ts";
import { error } from "../../testing/bases.ts";
import { IN, RANK } from "../../testing/trained-bilinear.ts";
import { MAGNITUDE, MODULES, normsOf, placedMethod, randloraInner } from "../../testing/trained-magnitudes.ts";
import type { Method } from "../../method/training.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

describe("a new one begins with the norms of W, in W's dtype", () => {
  test.each(["F32", "BF16"] as const)("%s", async (dtype) => {
    const placed = await placedMethod(gpu, { inner: randloraInner(0, "factored"), dtype }, true);
    const { method, parameters, weight, trainable } = placed;
    using run = new Run(gpu);
    begin(method, run);
    await run.submit();
    const norms = normsOf(
      weight.values,
      MODULES.map(({ out }) => new Float64Array(out * IN)),
    );
    for (const [index, { module, out }] of MODULES.entries()) {
      const found = await parameters.read(`${module}.${MAGNITUDE}`);
      expect(error(found, norms[index] ?? [])).toBeLessThan(dtype === "F32" ? 1e-6 : 2 ** -8);
      const bits = new Uint32Array(found.buffer);
      if (dtype === "BF16") expect(bits.every((word) => (word & 0xffff) === 0)).toBe(true);
      const [row] = trainable.modules.filter((one) => one.name === module);
      const { bases, cols, r } = randloraShape(out, IN, RANK);
      expect(row?.parameters).toBe(bases * (r + cols) + out);
    }
    placed.release();
  });
});

function begin(method: Method, run: Run): void {
  if (method.begin === undefined) throw new Error("nothing to begin with");
  method.begin(run);
}
