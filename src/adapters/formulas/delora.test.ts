import { expect, test } from "bun:test";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { Run } from "../../compute/tensor/run.ts";
import { readConfig, sizesOf } from "../formula/formula.ts";
import { error, placed, taken } from "../testing/bases.ts";
import { testFormula } from "../testing/formula.ts";
import { frozen } from "../testing/trained-bilinear.ts";
import { DELORA } from "./delora.ts";

testFormula(DELORA, [
  [23, 10, 3],
  [10, 24, 8],
]);

test.each(["F32", "BF16"] as const)("w_norm begins with the norms of the columns of W in %s", async (dtype) => {
  await using gpu = await openTestDevice();
  const { tensor: weight, values } = frozen(gpu, dtype);
  const cols = weight.shape[1];
  const norms = placed(gpu, [1, cols], []);
  using run = new Run(gpu);
  DELORA.begin?.(run, weight, { a: norms, b: norms, lambda: norms, norms });
  await run.submit();
  const wanted = Array.from({ length: cols }, (_, col) => Math.hypot(...values.filter((_, at) => at % cols === col)));
  const apart = error(await taken(gpu, norms), wanted);
  expect(apart).toBeLessThan(dtype === "F32" ? 1e-6 : 2 ** -8);
  // Rounded as torch rounds them.
  expect(apart > 1e-4).toBe(dtype === "BF16");
});

test("single modules have ranks of their own, by the first pattern that matches", () => {
  const settings = { r: 4, rank_pattern: { "0.q_proj": 8, q_proj: 2 }, lambda_pattern: { q_proj: 1 } };
  const config = readConfig(DELORA, { settings, configFile: "a.json" });
  const shapesOf = (module: string) => DELORA.tensors.shapes(sizesOf(config, module), { module, out: 9, in: 6 });
  expect(shapesOf("layers.0.q_proj")).toEqual({ a: [8, 6], b: [9, 8], lambda: [1], norms: [6] });
  expect([shapesOf("layers.1.q_proj").a, shapesOf("layers.0.k_proj").a]).toEqual([
    [2, 6],
    [4, 6],
  ]);
});
