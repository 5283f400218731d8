import { expect, test } from "bun:test";
import { MemoryStdCache } from "../testing/drawn-bases.ts";
import { drawBases } from "../frozen/drawing/draw.ts";
import { formatBasesRecord, parseBasesRecord } from "./record.ts";
import { readElement } from "../../compute/device/matrix-storage.ts";
import { basesRecord, initialValues, newBasesSpec } from "./new-adapter.ts";
import { randloraShape } from "./shape.ts";
import { adapterTensors, randloraTensors } from "./trained-tensors.ts";

const MODULES = [
  { out: 12, in: 20 },
  { out: 30, in: 8 },
];

test("bases are drawn at the largest output and input, and the record draws them again", () => {
  const cache = new MemoryStdCache();
  const spec = newBasesSpec({
    modules: MODULES,
    r: 3,
    generator: "torch-mt19937-bf16-v2",
    key: 9n,
    sparsity: "dense",
    grid: "bf16",
  });
  expect(spec).toMatchObject({ max: 30, min: 20 });
  const record = parseBasesRecord(formatBasesRecord(basesRecord(spec, "paper", cache)), "run.json");
  expect(record).toMatchObject({
    generator: "torch-mt19937-bf16-v2",
    pairing: "paper",
    max: 30,
    min: 20,
    dtype: "bf16",
  });
  const { a, stdA, stdB } = drawBases(spec, { rows: 30, bases: 7, cols: 20 }, cache);
  expect([record.stdA, record.stdB]).toEqual([stdA ?? Number.NaN, stdB ?? Number.NaN]);
  expect(readElement(a, 0, 0)).not.toBe(0);
});

test("a generator that normalizes nothing records no deviations", () => {
  const spec = newBasesSpec({
    modules: MODULES,
    r: 4,
    generator: "philox-v1",
    key: 1n,
    sparsity: "sparse",
    grid: "f32",
  });
  const written = formatBasesRecord(basesRecord(spec, "peft", new MemoryStdCache()));
  expect(Object.keys(written)).toEqual(["generator", "pairing", "max", "min", "dtype", "sha256"]);
});

test("ΔW starts at zero: λ = 0, γ = 1/max(n, m) on the base's grid", () => {
  const { lambda, gamma } = initialValues(randloraShape(12, 20, 5), "f32");
  expect([...lambda]).toEqual(Array.from({ length: 15 }, () => 0));
  expect([...gamma]).toEqual(Array.from({ length: 36 }, () => Math.fround(1 / 12)));
  // bfloat16 has 8 bits: 1/576 = 227.56 · 2^-17.
  expect(initialValues(randloraShape(576, 1536, 16), "bf16").gamma[0]).toBe(228 / 2 ** 17);
});

test("tensors have PEFT's names, shapes and bytes", async () => {
  expect(randloraTensors("model.layers.0.mlp.up_proj", randloraShape(12, 20, 5))).toEqual({
    lambda: { name: "model.layers.0.mlp.up_proj.randlora_lambda", shape: [5, 3] },
    gamma: { name: "model.layers.0.mlp.up_proj.randlora_gamma", shape: [3, 12] },
  });
  const values = { lambda: Float32Array.from({ length: 15 }, (_, i) => i / 3), gamma: new Float32Array(36).fill(2) };
  const [lambda, gamma] = adapterTensors("q", randloraShape(12, 20, 5), values);
  expect(new Float32Array((await lambda.readAll()).buffer)).toEqual(values.lambda);
  expect([gamma.dtype, gamma.shape, gamma.bytes]).toEqual(["F32", [3, 12], 144]);
  expect(() => adapterTensors("q", randloraShape(12, 20, 4), values)).toThrow("q.randlora_lambda: 15 numbers");
});
