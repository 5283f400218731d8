import { describe, expect, test } from "bun:test";
import allLinear from "../../../fixtures/adapters/peft-all-linear.json";
import golden from "../../../fixtures/adapters/peft-targets.json";
import type { PlainConfig } from "../files/adapter.ts";
import { RandloraError } from "../../files/errors.ts";
import { isEmbedding } from "./base.ts";
import { randloraConfig } from "../randlora/config.ts";
import { parseTargets, targetMatcher } from "./targets.ts";

const rules = (settings: PlainConfig) => randloraConfig({ settings, configFile: "adapter_config.json" }).targets;
const paths: Readonly<Record<string, readonly string[]>> = golden.paths;

describe(`as ${golden.source}`, () => {
  for (const { paths: set, config, matched } of golden.cases) {
    test(`${set} ${JSON.stringify(config)}`, () => {
      const matches = targetMatcher(rules(config), undefined);
      const all = paths[set] ?? [];
      expect(all.filter((path) => matches(path))).toEqual(matched.map((index) => all[index] ?? ""));
    });
  }
});

describe(`all-linear as ${allLinear.source}`, () => {
  const matches = targetMatcher(rules({ target_modules: "All-Linear" }), undefined);
  for (const { model, matrices, matched } of allLinear.cases) {
    test(model, () => {
      // The matcher is asked about linear layers; embeddings are told apart before.
      expect(matrices.filter((module) => !isEmbedding(module) && matches(module))).toEqual(matched);
    });
  }
});

describe("targets that are not given", () => {
  test("are PEFT's for the architecture", () => {
    const matches = targetMatcher(rules({}), "llama");
    const found = (paths["llama"] ?? []).filter((path) => matches(path) && path.includes(".10."));
    expect(found).toEqual(["model.layers.10.self_attn.q_proj", "model.layers.10.self_attn.v_proj"]);
  });

  test("a pattern among PEFT's defaults stays one", () => {
    const matches = targetMatcher(rules({ target_modules: null }), "gemma4");
    expect(matches("model.language_model.layers.0.self_attn.q_proj")).toBe(true);
    expect(matches("model.vision_tower.layers.0.self_attn.q_proj")).toBe(false);
  });

  test("nor known are an error that names the model type", () => {
    expect(() => targetMatcher(rules({}), "toString")).toThrow(
      'no default targets are known for model type "toString"',
    );
    expect(() => targetMatcher(rules({}), undefined)).toThrow(RandloraError);
  });
});

test("excluded names and patterns are left out", () => {
  const excludes = (exclude: unknown) => {
    const matches = targetMatcher(rules({ target_modules: ["q_proj", "k_proj"], exclude_modules: exclude }), undefined);
    return (paths["llama"] ?? []).filter((path) => matches(path)).map((path) => path.slice("model.layers.".length));
  };
  const k = ["0", "1", "10", "11"].map((layer) => `${layer}.self_attn.k_proj`);
  expect(excludes(["q_proj"])).toEqual(k);
  expect(excludes(String.raw`.*\.q_proj|model\.layers\.1\d.*`)).toEqual(k.slice(0, 2));
});

describe("--targets", () => {
  test("plain characters are a list of names", () => {
    expect(parseTargets("q_proj,v_proj")).toEqual(["q_proj", "v_proj"]);
    expect(parseTargets("model.layers.0.mlp.up-proj")).toEqual(["model.layers.0.mlp.up-proj"]);
    expect(parseTargets("q_proj,")).toEqual(["q_proj"]);
  });
  test("all-linear is itself, whatever its case", () => {
    expect(parseTargets("ALL-linear")).toBe("all-linear");
  });
  test("anything else is a regular expression", () => {
    expect(parseTargets(".*q_proj")).toBe(".*q_proj");
    expect(parseTargets("q_proj, v_proj")).toBe("q_proj, v_proj");
  });
});
