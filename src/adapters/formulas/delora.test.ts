import { expect, test } from "bun:test";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { Run } from "../../compute/tensor/run.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import { readConfig } from "../formula/formula.ts";
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

test("ranks of single layers are refused; λ of single layers is among the tensors", () => {
  const read = (settings: JsonObject) => () => readConfig(DELORA, { settings, configFile: "a.json" });
  expect(read({ r: 4, rank_pattern: { q_proj: 8 } })).toThrow('"rank_pattern" is not supported');
  expect(read({ r: 4, lambda_pattern: { q_proj: 8 } })().r).toBe(4);
});
