import { expect, test } from "bun:test";
import { newRandlora } from "./randlora-source.ts";
import { settingsFor } from "./testing.ts";
import type { Targets } from "./target-modules.ts";

const asked = { data: "none.jsonl", sparsity: "sparse", rank: 4, projections: false } as const;

test.each([
  ["keep", "BF16", false],
  ["bf16", "BF16", false],
  ["f32", "BF16", true],
  ["f32", "F32", false],
] as const)("a base held in %s and stored in %s: bases must be saved: %p", async (dtype, stored, needed) => {
  const settings = await settingsFor({ ...asked, dtype });
  const { adapter } = settings;
  if (adapter === null) throw new TypeError("no adapter");
  const module = { name: "layers.0.q_proj", out: 16, in: 8, dtype: stored };
  const targets: Targets = { modules: [module], config: { target_modules: ["q_proj"], layers_to_transform: null } };
  await using source = await newRandlora(settings, adapter, targets);
  expect(source.needsProjections).toBe(needed);
});
