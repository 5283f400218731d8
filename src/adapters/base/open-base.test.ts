import { expect, test } from "bun:test";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { readJson } from "../../files/read-whole.ts";
import { plannedMatrices } from "../../models/decoder/weight-plan.ts";
import { writeArchitecture } from "../../models/testing/architectures.ts";
import { writeModel } from "../../models/testing/models.ts";
import { openBase } from "./named-base.ts";
import { findTargets } from "./target-modules.ts";

test("what a file has of keys that a layer takes from another one is no module", async () => {
  await using folder = await TemporaryFolder.create();
  const shared = { num_kv_shared_layers: 1, layer_types: ["full_attention", "full_attention"] };
  const config = await writeArchitecture(folder.path, "gemma4_text", 2, shared);
  const parts = plannedMatrices(config).flatMap((planned) => planned.parts);
  const stored = parts.map(({ name, stored: shape }) => [name, shape] as const);
  const unread = "model.layers.1.self_attn.v_proj.weight";
  const settings = Object(await readJson(folder.at("config.json"), 2 ** 20, ""));
  await writeModel(folder.path, settings, { ...Object.fromEntries(stored), [unread]: [32, 32] });
  await using opened = await openBase(folder.path);
  expect(opened.base.tensors.has(unread)).toBe(true);
  const { modules } = findTargets(opened.base, { targets: ["q_proj", "v_proj"], layers: [] });
  expect(modules.map(({ name }) => name)).toEqual([
    "model.layers.0.self_attn.q_proj",
    "model.layers.0.self_attn.v_proj",
    "model.layers.1.self_attn.q_proj",
  ]);
  expect(findTargets(opened.base, { targets: "all-linear", layers: [] }).modules.length).toBe(12);
});
