import { describe, expect, test } from "bun:test";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { describeBase } from "./base.ts";
import { findShift, findWeight, shiftPath, unshiftPath } from "./module-paths.ts";
import { readConfig } from "../../models/folder/config-json.ts";
import { refusalOf } from "../../files/testing/folder.ts";
import { targetsOf } from "../../models/decoder/architectures/index.ts";
import { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { findTargets } from "./target-modules.ts";

await using checkpoint = await Checkpoint.open(STORIES);
const WEIGHT = { dtype: "F32", shape: [8, 8] } as const;
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

test("default targets that a model of their type has none of are no mistake", () => {
  const tensors = new Map(["q_proj", "v_proj"].map((name) => [`model.layers.0.self_attn.${name}.weight`, WEIGHT]));
  const attending = { path: "it", tensors, config: { model_type: "qwen3_5_text" } };
  const targets = [...(targetsOf("qwen3_5_text") ?? [])];
  expect(targets).toContain("in_proj_qkv");
  expect(findTargets(attending, { targets, layers: [] }).modules).toHaveLength(2);
  expect(() => findTargets(attending, { targets: ["q_proj", "in_proj_qkv"], layers: [] })).toThrow("in_proj_qkv");
});

describe.each([
  ["language_model.model.", "vision_tower."],
  ["model.language_model.", "model.vision_tower."],
  ["model.", "visual."],
])("the text decoder of a model of several parts, at %s", (text, images) => {
  const projections = [0, 1].flatMap((layer) => ["q", "v"].map((name) => `layers.${layer}.self_attn.${name}_proj`));
  const tensors = [...projections.map((path) => `${text}${path}`), `${images}layers.0.self_attn.q_proj`];
  const weights = new Map(tensors.map((path) => [`${path}.weight`, { dtype: "F32" as const, shape: [8, 8] }]));
  const gemma3 = { path: "it", tensors: weights, config: { model_type: "gemma3" } };
  test.each([["all-linear"], [["q_proj", "v_proj"]]])("is what %j adapt, by the names that PEFT has", (targets) => {
    const { modules, config } = findTargets(gemma3, { targets, layers: [] });
    const names = projections.map((path) => `model.language_model.${path}`);
    expect(modules.map(({ name }) => name)).toEqual(names);
    expect(modules.map(({ tensor }) => tensor)).toEqual(projections.map((path) => `${text}${path}.weight`));
    // In PEFT the same words mean modules of the image encoder, too.
    expect(config.target_modules).toEqual(names);
    const shift = findShift(names, gemma3, "adapter");
    expect(names.map((name) => findWeight(name, shift, gemma3, "adapter").tensor)).toEqual(
      modules.map(({ tensor }) => tensor),
    );
  });

  test("alone is adapted", () => {
    expect(() => findTargets(gemma3, { targets: String.raw`.*vision_tower\..*`, layers: [] })).toThrow(
      "no linear layer",
    );
  });
});

test("a name that PEFT takes for a module which holds a linear layer is written as the modules that are meant", () => {
  const tensors = ["language_model.layers.0.self_attn.q_proj", "vision_tower.layers.0.self_attn.q_proj.linear"];
  const weights = new Map(tensors.map((path) => [`model.${path}.weight`, { dtype: "F32" as const, shape: [8, 8] }]));
  const gemma4 = { path: "it", tensors: weights, config: { model_type: "gemma4" } };
  const { modules, config } = findTargets(gemma4, { targets: ["q_proj"], layers: [] });
  expect(modules.map(({ name }) => name)).toEqual([`model.${tensors[0]}`]);
  expect(config.target_modules).toEqual([`model.${tensors[0]}`]);
});

test("matrices of experts, and routers, are meant by name; all linear layers are neither, but Gemma 4's router", () => {
  const experts = ["mlp.experts.0.up_proj", "mlp.experts.1.up_proj"];
  const modules = ["self_attn.q_proj", "mlp.gate", "block_sparse_moe.router.layer", "router.proj", ...experts];
  const info = { dtype: "F32", shape: [8, 8] } as const;
  const mixture = { ...base, tensors: new Map(modules.map((name) => [`model.layers.0.${name}.weight`, info])) };
  const namesOf = (targets: string | string[]) =>
    findTargets(mixture, { targets, layers: [] }).modules.map(({ name }) => name);
  expect(namesOf("all-linear")).toEqual(["model.layers.0.self_attn.q_proj", "model.layers.0.router.proj"]);
  expect(namesOf(["gate"])).toEqual(["model.layers.0.mlp.gate"]);
  expect(namesOf(["up_proj"])).toEqual([
    "model.layers.0.mlp.experts.0.up_proj",
    "model.layers.0.mlp.experts.1.up_proj",
  ]);
  // An expert's number is no layer's.
  expect(() => findTargets(mixture, { targets: ["up_proj"], layers: [0, 1] })).toThrow("in layers 1 matches");
});

test("names mean an MLP's matrices and not those of experts beside it, as in PEFT: these are parameters, or meant by a pattern", async () => {
  const layer = "model.layers.3";
  const each = ["gate_proj", "up_proj", "down_proj"];
  const experts = [0, 1].flatMap((expert) => each.map((name) => `${layer}.experts.${expert}.${name}`));
  const all = [...each.map((name) => `${layer}.mlp.${name}`), ...experts];
  const info = { dtype: "F32", shape: [8, 8] } as const;
  const gemma4 = { ...base, tensors: new Map(all.map((name) => [`${name}.weight`, info])) };
  const find = (targets: string | string[], parameters = true) =>
    findTargets(gemma4, { targets, layers: [] }, { parameters });
  const { modules, config } = find(["up_proj", "down_proj"]);
  expect(modules.map(({ name }) => name)).toEqual([`${layer}.mlp.up_proj`, `${layer}.mlp.down_proj`]);
  expect(config).toEqual({ target_modules: ["up_proj", "down_proj"], layers_to_transform: null });
  expect(find(["experts.down_proj"]).config.target_parameters).toEqual([`${layer}.experts.down_proj`]);
  const pattern = String.raw`.*\.experts\.\d+\.(up_proj|down_proj)`;
  expect(find(pattern, false).modules.length).toBe(4);
  const refusal = await refusalOf(() => find(["experts.gate_up_proj"], false));
  expect(refusal.hint).toContain(String.raw`--targets '.*\.experts\.\d+\.(gate_proj|up_proj)'`);
});

test("experts' matrices are modules where files have them apart, else parameters, as routers are", () => {
  const info = (...shape: number[]) => ({ dtype: "F32", shape }) as const;
  const each = [0, 1].flatMap((expert) =>
    ["gate_proj", "up_proj", "down_proj"].map(
      (name) => [`model.layers.3.mlp.experts.${expert}.${name}.weight`, info(8, 8)] as const,
    ),
  );
  const apart = { ...base, tensors: new Map([["model.layers.3.mlp.gate.weight", info(2, 8)] as const, ...each]) };
  const fused = {
    ...base,
    tensors: new Map([
      ["model.layers.3.mlp.experts.gate_up_proj", info(2, 16, 8)],
      ["model.layers.3.mlp.experts.down_proj", info(2, 8, 8)],
    ]),
  };
  // A tensor of all that is read as those of each.
  const whole = (name: string) => ({ name: `model.layers.3.mlp.experts.${name}`, shape: [2, 8, 8] });
  const divided = {
    ...base,
    tensors: new Map(
      each.map(([name, one]) => [name, { ...one, whole: whole(name.includes("down") ? "down_proj" : "gate_up_proj") }]),
    ),
  };
  const find = (of: typeof base, targets: string | string[]) =>
    findTargets(of, { targets, layers: [] }, { parameters: true });
  const path = "model.layers.3.mlp.experts";
  expect(find(apart, ["down_proj"])).toMatchObject({
    modules: [{ name: `${path}.0.down_proj` }, { name: `${path}.1.down_proj` }],
    config: { target_modules: ["down_proj"] },
  });
  const both = { target_modules: [], target_parameters: [`${path}.gate_up_proj`, `${path}.down_proj`] };
  for (const [of, targets] of [
    [apart, ["experts.gate_up_proj", "experts.down_proj"]],
    [fused, ["gate_up_proj", "down_proj"]],
    [fused, ".*experts.*"],
    [divided, ["gate_up_proj", "down_proj"]],
    [divided, ".*experts.*"],
  ] as const) {
    const { modules, config } = find(of, typeof targets === "string" ? targets : [...targets]);
    expect(config).toMatchObject(both);
    expect(modules).toMatchObject([
      { name: `${path}.base_layer`, experts: 2, out: 16, in: 8 },
      { name: path, experts: 2, out: 8, in: 8 },
    ]);
  }
  const { modules: ofEach } = findTargets(divided, { targets: ["down_proj"], layers: [] });
  expect(ofEach.map(({ name }) => name)).toEqual([`${path}.0.down_proj`, `${path}.1.down_proj`]);
  expect(find(apart, ["gate"]).config).toMatchObject({
    target_modules: [],
    target_parameters: ["model.layers.3.mlp.gate.weight"],
  });
  expect(() => findTargets(fused, { targets: ["down_proj"], layers: [] })).toThrow("by LoRA alone");
  expect(() => find(fused, ["up_proj"])).toThrow(
    expect.objectContaining({ hint: "modules of this model: experts.gate_up_proj, experts.down_proj" }),
  );
  // A router's name in the file is no module's in transformers.
  const gate = "model.layers.3.block_sparse_moe.gate.weight";
  const mixtral = { ...base, config: { model_type: "mixtral" }, tensors: new Map([[gate, info(2, 8)]]) };
  expect(find(mixtral, ["block_sparse_moe.gate"]).config).toMatchObject({
    target_modules: [],
    target_parameters: ["model.layers.3.mlp.gate.weight"],
  });
});

describe("DINOv2, whose modules transformers 5 calls otherwise than checkpoints do", () => {
  const layers = [0, 1].flatMap((layer) => {
    const prefix = `encoder.layer.${layer}`;
    const square = ["attention.attention.query", "attention.attention.value", "attention.output.dense"];
    return [...square.map((name) => `${prefix}.${name}`), `${prefix}.mlp.fc1`];
  });
  const tensors = new Map(
    [...layers, "classifier"].map((name) => [`${name}.weight`, { dtype: "F32", shape: [8, 8] }] as const),
  );
  const dinov2 = { path: "base", tensors, config: { model_type: "dinov2" } };

  test.each<[string | string[], string | string[]]>([
    [["q_proj"], ["q_proj"]],
    [["query"], ["q_proj"]],
    [["attention.query"], ["q_proj"]],
    [["attention.attention.query"], ["attention.q_proj"]],
    [String.raw`.*\.query`, ["encoder.layer.0.attention.q_proj", "encoder.layer.1.attention.q_proj"]],
    [String.raw`.*\.q_proj`, String.raw`.*\.q_proj`],
  ])("%j are the queries, written as %j", (targets, written) => {
    const { modules, config } = findTargets(dinov2, { targets, layers: [] });
    expect(modules.map(({ name }) => name)).toEqual([0, 1].map((layer) => `encoder.layer.${layer}.attention.q_proj`));
    expect(modules.map(({ tensor }) => tensor)).toEqual(
      [0, 1].map((layer) => `encoder.layer.${layer}.attention.attention.query.weight`),
    );
    expect(config).toEqual({ target_modules: written, layers_to_transform: null });
  });

  test("layers stay layers; a head that is trained whole is not adapted, and gives the paths their prefix", () => {
    const dense = findTargets(dinov2, { targets: ["output.dense", "fc1"], layers: [1] });
    expect(dense.modules.map(({ name }) => name)).toEqual([
      "encoder.layer.1.attention.o_proj",
      "encoder.layer.1.mlp.fc1",
    ]);
    expect(dense.config).toEqual({ target_modules: ["o_proj", "fc1"], layers_to_transform: [1] });
    const within = { prefix: "dinov2.", saved: ["classifier"] };
    const all = findTargets({ ...dinov2, within }, { targets: "all-linear", layers: [] });
    expect(all.modules).toHaveLength(8);
    expect(all.modules[0]).toMatchObject({
      name: "dinov2.encoder.layer.0.attention.q_proj",
      tensor: "encoder.layer.0.attention.attention.query.weight",
    });
  });

  test("names that neither spelling has are refused", () => {
    expect(() => findTargets(dinov2, { targets: ["query", "keys"], layers: [] })).toThrow("--targets keys");
  });

  test("adapters in either spelling, with the head's prefix or without, lead to the checkpoint's tensors and back", () => {
    for (const path of ["attention.q_proj", "attention.attention.query"]) {
      for (const prefix of ["", "dinov2."]) {
        const module = `${prefix}encoder.layer.1.${path}`;
        const shift = findShift([module], dinov2, "adapter");
        const stored = "encoder.layer.1.attention.attention.query";
        expect(shiftPath(module, shift)).toBe(stored);
        expect(shiftPath(`${prefix}encoder.layer.0.mlp.fc1`, shift)).toBe("encoder.layer.0.mlp.fc1");
        expect(findWeight(module, shift, dinov2, "adapter").tensor).toBe(`${stored}.weight`);
        if (prefix === "") expect(unshiftPath(stored, shift)).toBe(module);
      }
    }
  });
});

test("of experts whose matrices begin or end within a vector, those of whole vectors are adapted", () => {
  const shapes = { gate_proj: [18, 8], up_proj: [18, 8], down_proj: [8, 18] };
  const tensors = new Map(
    [0, 1].flatMap((expert) =>
      Object.entries(shapes).map(
        ([name, shape]) => [`model.layers.0.mlp.experts.${expert}.${name}.weight`, { dtype: "F32", shape }] as const,
      ),
    ),
  );
  const odd = { path: "it", tensors, config: { model_type: "qwen3_moe", num_experts: 2 } };
  expect(findTargets(odd, { targets: ["down_proj"], layers: [] }).modules).toHaveLength(2);
  expect(() => findTargets(odd, { targets: ["up_proj"], layers: [] })).toThrow("has 18 rows");
});
