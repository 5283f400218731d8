import { expect, test } from "bun:test";
import { initialValues } from "./new-adapter.ts";
import { randloraShape } from "./shape.ts";
import { adapterTensors, randloraTensors } from "./trained-tensors.ts";

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
