import { describe, expect, test } from "bun:test";
import { RandloraError } from "../../files/errors.ts";
import type { PlainConfig } from "../files/adapter.ts";
import { randloraConfig } from "./config.ts";

const parse = (settings: PlainConfig) => randloraConfig({ settings, configFile: "a/adapter_config.json" });

test("defaults are PEFT's", () => {
  expect(parse({ peft_type: "RANDLORA" })).toEqual({
    r: 32,
    half: false,
    alpha: 640,
    key: 0n,
    sparsity: "dense",
    fanInFanOut: false,
    bias: false,
    dora: false,
    pairing: "peft",
    modulesToSave: [],
    targets: {
      modules: null,
      exclude: [],
      modulesToSave: [],
      layers: [],
      layersPattern: [],
      file: "a/adapter_config.json",
    },
  });
});

test("null is as good as nothing where Python has None", () => {
  const keys = ["target_modules", "modules_to_save", "layers_to_transform", "layers_pattern", "task_type", "bias"];
  expect(parse(Object.fromEntries(keys.map((key) => [key, null])))).toEqual(parse({}));
});

test("very sparse wins", () => {
  expect(parse({ sparse: true }).sparsity).toBe("sparse");
  expect(parse({ sparse: true, very_sparse: true }).sparsity).toBe("very-sparse");
});

test("one layer and one pattern become lists", () => {
  const { targets } = parse({ layers_to_transform: 0, layers_pattern: "h" });
  expect(targets).toMatchObject({ layers: [0], layersPattern: ["h"] });
});

test("the seed is exact to the last digit, negative too", () => {
  expect(parse({ projection_prng_key: 2n ** 64n - 1n }).key).toBe(2n ** 64n - 1n);
  expect(parse({ projection_prng_key: -5 }).key).toBe(-5n);
});

describe("what makes no sense names the file, the key and the value", () => {
  const refusals: readonly (readonly [config: Readonly<Record<string, unknown>>, message: string])[] = [
    [{ r: 0 }, 'a/adapter_config.json: "r" is 0: it must be a positive integer'],
    [{ r: 1.5 }, '"r" is 1.5: it must be a positive integer'],
    [{ r: -4 }, '"r" is -4: it must be a positive integer'],
    [{ r: "8" }, '"r" is "8": it must be a positive integer'],
    [{ r: null }, '"r" is null: it must be a positive integer'],
    [{ r: 2n ** 70n }, '"r" is 1180591620717411303424: it must be a positive integer'],
    [{ randlora_alpha: "20" }, '"randlora_alpha" is "20": it must be a number'],
    [{ randlora_alpha: Infinity }, '"randlora_alpha" is Infinity: it must be a finite number'],
    [{ projection_prng_key: 0.5 }, '"projection_prng_key" is 0.5: it must be an integer'],
    [{ projection_prng_key: 2n ** 64n }, '"projection_prng_key" is 18446744073709551616: it must be an integer'],
    [{ sparse: "yes" }, '"sparse" is "yes": it must be true or false'],
    [{ bias: "lora_only" }, '"bias" is "lora_only": it must be "none", "all" or "randlora_only"'],
    [{ target_modules: 5 }, '"target_modules" is 5: it must be a string or a list of strings'],
    [{ target_modules: [5] }, '"target_modules" is [5]: it must be a string or a list of strings'],
    [{ layers_to_transform: [0.5] }, '"layers_to_transform.0" is 0.5: it must be a layer\'s index or a list of them'],
    [{ modules_to_save: "lm_head" }, '"modules_to_save" is "lm_head": it must be a list of strings'],
  ];
  for (const [config, message] of refusals) {
    test(message, () => {
      expect(() => parse(config)).toThrow(message);
      expect(() => parse(config)).toThrow(RandloraError);
    });
  }
});
