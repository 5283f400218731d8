import { expect, test } from "bun:test";
import { settingsFor } from "../../train/testing/runs.ts";
import type { Targets } from "../base/target-modules.ts";
import { resolveRandlora } from "./config.ts";
import { randloraShape } from "./plan.ts";
import { initialGamma, openNewRandlora, trainableRandlora } from "./method.ts";

const asked = { data: "none.jsonl", sparsity: "sparse", rank: 4, projections: false } as const;

test.each([
  ["keep", ["BF16"], false],
  ["bf16", ["BF16"], false],
  ["f32", ["BF16"], true],
  ["f32", ["F32"], false],
  // PEFT has no grid for such a base, and merge would refuse to guess one.
  ["keep", ["F16", "BF16"], true],
] as const)("a base held in %s and stored in %s: bases must be saved: %p", async (dtype, stored, needed) => {
  const settings = await settingsFor({ ...asked, dtype });
  const { adapter } = settings;
  if (adapter === null) throw new TypeError("no adapter");
  const modules = stored.map((kind, i) => {
    const name = `layers.${i}.q_proj`;
    return { name, tensor: `${name}.weight`, out: 16, in: 8, dtype: kind };
  });
  const tensors = new Map(modules.map(({ tensor, dtype: kind }) => [tensor, { dtype: kind, shape: [16, 8] }]));
  const base = { path: "base", tensors, config: {} };
  const targets: Targets = { modules, config: { target_modules: ["q_proj"], layers_to_transform: null } };
  const own = { ...adapter, ...resolveRandlora(adapter) };
  const source = await openNewRandlora({ ...settings, base, signal: undefined }, own, targets);
  expect(source.needsProjections).toBe(needed);
});

test("ΔW starts at zero: λ = 0, γ = 1/max(n, m) on the base's grid", async () => {
  const settings = await settingsFor({ ...asked, dtype: "f32" });
  if (settings.adapter === null) throw new TypeError("no adapter");
  const base = {
    path: "base",
    tensors: new Map([["q.weight", { dtype: "F32" as const, shape: [12, 20] }]]),
    config: {},
  };
  const module = { name: "q", tensor: "q.weight", out: 12, in: 20, dtype: "F32" } as const;
  const targets: Targets = { modules: [module], config: { target_modules: ["q"], layers_to_transform: null } };
  const own = { ...settings.adapter, rank: 5, ...resolveRandlora({ ...settings.adapter, gammaRate: 0.1 }) };
  const source = await openNewRandlora({ ...settings, base, signal: undefined }, own, targets);
  expect(trainableRandlora(source, own, 0).parameters).toMatchObject([
    { name: "q.randlora_lambda", shape: [5, 3] },
    { name: "q.randlora_gamma", shape: [3, 12], rate: 0.1 },
  ]);
  const { lambda, gamma } = source.layers[0]?.tensors ?? {};
  expect([lambda?.name, lambda?.shape, gamma?.name, gamma?.shape]).toEqual([
    "q.randlora_lambda",
    [5, 3],
    "q.randlora_gamma",
    [3, 12],
  ]);
  const values = async (tensor = lambda) => [
    ...new Float32Array((await tensor?.readAll())?.buffer ?? new ArrayBuffer()),
  ];
  expect(await values()).toEqual(Array.from({ length: 15 }, () => 0));
  expect(await values(gamma)).toEqual(Array.from({ length: 36 }, () => Math.fround(1 / 12)));
  // bfloat16 has 8 bits: 1/576 = 227.56 · 2^-17.
  expect(initialGamma(randloraShape(576, 1536, 16), "bf16")[0]).toBe(228 / 2 ** 17);
});
