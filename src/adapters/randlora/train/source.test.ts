import { expect, test } from "bun:test";
import { resolveRandlora } from "./settings.ts";
import { newRandlora } from "./source.ts";
import { settingsFor } from "../../../train/testing/runs.ts";
import type { Targets } from "../../base/target-modules.ts";

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
  const targets: Targets = { modules, config: { target_modules: ["q_proj"], layers_to_transform: null } };
  const own = { ...adapter, ...resolveRandlora(adapter) };
  const source = await newRandlora({ ...settings, signal: undefined }, own, targets);
  expect(source.needsProjections).toBe(needed);
});
