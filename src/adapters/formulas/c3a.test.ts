import { expect, test } from "bun:test";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { Run } from "../../compute/tensor/run.ts";
import { refusalOf } from "../../files/testing/folder.ts";
import { error, placed, taken } from "../testing/bases.ts";
import { testFormula } from "../testing/formula.ts";
import { C3A, c3a } from "./c3a.ts";

testFormula(C3A, [
  [25, 10, 5],
  [12, 24, 4],
  [12, 12, 12],
]);

test("block sizes of single layers are refused; of a usual size only divisors of all sides are taken", async () => {
  const settings = { peft_type: "C3A", block_size: 4, block_size_pattern: { q_proj: 8 } };
  const refusal = await refusalOf(() => c3a.check({ settings, configFile: "a.json" }));
  expect([refusal.code, refusal.message]).toEqual(["adapter", expect.stringContaining("block_size_pattern")]);
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
  const formula = C3A.formula({ out: b, in: b }, { r: b, own: { block_size_pattern: {}, init_weights: true } });
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
