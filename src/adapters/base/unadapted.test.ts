import { expect, test } from "bun:test";
import type { Adapter } from "../files/adapter.ts";
import { unadaptedModules } from "../frozen/origin.ts";

test("an adapter with a head for CLIP's images lacks none of its texts' modules, which transformers' class has not", () => {
  const modules = ["vision_model.encoder.layers.0.self_attn.q_proj", "text_model.encoder.layers.0.self_attn.q_proj"];
  const tensors = new Map(modules.map((name) => [`${name}.weight`, { dtype: "F32", shape: [8, 8] }] as const));
  const adapter: Adapter = {
    path: "a",
    file: "a",
    configFile: "a",
    format: "peft",
    config: {},
    settings: {},
    bases: undefined,
    tensors: new Map(),
    metadata: new Map(),
    close: async () => {},
    async [Symbol.asyncDispose]() {},
  };
  const lacking = (type: string, modulesToSave: string[]) => {
    const targets = { modules: ["q_proj"], exclude: [], modulesToSave: [], layers: [], layersPattern: [] };
    const base = { path: "b", tensors, config: { model_type: type } };
    const held = [{ module: modules[0] ?? "" }];
    const found = unadaptedModules(adapter, { targets, modulesToSave, fanInFanOut: false, bias: false }, held, base, {
      drop: "",
      add: "",
    });
    return found.map(({ module }) => module);
  };
  expect(lacking("clip", ["classifier"])).toEqual([]);
  expect(lacking("clip", [])).toEqual(modules.slice(1));
  expect(lacking("other", ["classifier"])).toEqual(modules.slice(1));
});
