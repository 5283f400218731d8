import { expect, test } from "bun:test";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { describeBase } from "../base.ts";
import { readConfig } from "../../merge/model-config.ts";
import { Checkpoint } from "../../safetensors/checkpoint.ts";
import { findTargets } from "./target-modules.ts";

await using checkpoint = await Checkpoint.open(STORIES);
const base = describeBase(checkpoint, (await readConfig(STORIES))?.value);

test("names, all linear layers and patterns, in some layers or in all", () => {
  const found = findTargets(base, { targets: ["q_proj", "v_proj"], layers: [0, 4] });
  expect(found.modules.map(({ name }) => name).toSorted()).toEqual([
    "model.layers.0.self_attn.q_proj",
    "model.layers.0.self_attn.v_proj",
    "model.layers.4.self_attn.q_proj",
    "model.layers.4.self_attn.v_proj",
  ]);
  expect(found.config).toEqual({ target_modules: ["q_proj", "v_proj"], layers_to_transform: [0, 4] });
  expect(findTargets(base, { targets: "all-linear", layers: [] }).modules).toHaveLength(35);
  // PEFT reads layers beside a list only: the modules are that list.
  const pattern = findTargets(base, { targets: String.raw`.*\.q_proj`, layers: [2] });
  expect(pattern.config).toEqual({ target_modules: ["model.layers.2.self_attn.q_proj"], layers_to_transform: null });
});

test.each<[string | string[], number[], string]>([
  [["nothing"], [], "--targets nothing: no linear layer"],
  [["q_proj", "qproj"], [], "--targets qproj: no linear layer"],
  [["q_proj"], [0, 9], "in layers 9 matches"],
  ["all-linear", [4, 5], "in layers 5 matches"],
  [".*nothing", [], "--targets .*nothing: no linear layer"],
  ["(", [], "--targets: regular expression"],
])("%j in layers %j is refused", (targets, layers, message) => {
  expect(() => findTargets(base, { targets, layers })).toThrow(
    expect.objectContaining({ code: "usage", message: expect.stringContaining(message) }),
  );
});

test("gate and up in one matrix, whose product cannot be looked at apart, are refused", () => {
  const name = "model.layers.0.mlp.gate_up_proj.weight";
  const fused = (rows: number) => ({
    ...base,
    tensors: new Map([[name, { dtype: "F32", shape: [rows, 8] } as const]]),
  });
  const find = (rows: number) => findTargets(fused(rows), { targets: ["gate_up_proj"], layers: [] });
  expect(find(80).modules).toHaveLength(1);
  expect(() => find(74)).toThrow(expect.objectContaining({ code: "usage" }));
});
