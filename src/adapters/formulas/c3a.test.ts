import { expect, test } from "bun:test";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { Run } from "../../compute/tensor/run.ts";
import { readConfig, sizesOf } from "../formula/formula.ts";
import { error, placed, taken } from "../testing/bases.ts";
import { testFormula } from "../testing/formula.ts";
import { C3A, c3a } from "./c3a.ts";

testFormula(C3A, [
  [25, 10, 5],
  [12, 24, 4],
  [12, 12, 12],
]);

test("single modules have sizes of their own; of a usual size only divisors of all sides are taken", () => {
  // As peft/tuners/c3a/model.py has it, a key is the end of a path behind a dot.
  const settings = { block_size: 4, block_size_pattern: { q_proj: 8, "x|k_proj": 2 } };
  const config = readConfig(C3A, { settings, configFile: "a.json" });
  const sizes = ["0.q_proj", "q_proj", "0.k_proj", "k_proj"].map((module) => sizesOf(config, module).r);
  expect(sizes).toEqual([8, 4, 4, 2]);
  const { most, count } = c3a.training.capacity;
  const modules = [
    { out: 24, in: 18 },
    { out: 12, in: 36 },
  ];
  expect([most(modules), count(modules, 6, {}), count(modules, 4, {})]).toEqual([6, 144, Infinity]);
});

test("gradients of a large block are sums of at most 256 rows, and nothing of its size comes from the host", async () => {
  await using gpu = await openTestDevice();
  const b = 512;
  const formula = C3A.formula({ out: b, in: b }, { r: b, own: { init_weights: true } });
  const [g, k] = [placed(gpu, [b, b], new Float32Array(b * b).fill(0.1)), placed(gpu, [1, b], new Float32Array(b))];
  let uploaded = 0;
  class Counted extends Run {
    override upload(...[label, shape, data]: Parameters<Run["upload"]>) {
      uploaded += data.byteLength;
      return super.upload(label, shape, data);
    }
  }
  using run = new Counted(gpu);
  formula.fold(run, { k }, b, { first: 0, rows: g }, { k });
  await run.submit();
  expect(error(await taken(gpu, k), new Float64Array(b).fill(b * Math.fround(0.1)))).toBeLessThan(3.5e-6);
  expect(uploaded).toBeLessThan(b * 256);
  for (const { buffer } of [g, k]) gpu.memory.release(buffer);
});
