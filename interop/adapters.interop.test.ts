import { describe, expect, test } from "bun:test";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { compareMerges } from "./compare.ts";
import { judge, type Case } from "./judge.ts";
import { merge, randlora } from "./program.ts";
import { openTensors, type StoredTensor } from "./tensors.ts";

const python = await judge();

const NAMES = [
  "dense-bf16-copies",
  "dense-bf16-pair",
  "dense-bf16-redrawn",
  "dense-bf16-foreign",
  "dense-f16-copies",
  "dense-f32-huge-key",
  "dense-f32-redrawn-r10-negative-key",
  "sparse-bf16-redrawn",
  "sparse-f32-copies",
  "very-sparse-bf16-pair",
  "very-sparse-f16-redrawn",
  "conv1d-bf16-sparse",
  "layers-to-transform",
  "regex-targets",
  "modules-to-save",
  "bias-all",
  "tied-lm-head-f32",
  "adapter-name",
  "no-prefix",
  "lora-bf16",
  "lora-f32-patterns",
  "lora-bf16-stored-bf16",
  "lora-conv1d-bf16",
  "lora-saved-and-biases-f32",
  "vera-f32",
  "vera-bf16",
  "vera-f16-redrawn-huge-key",
  "vera-f32-foreign",
  "vera-bf16-stored-bf16",
  "vera-conv1d-bf16-redrawn",
  "vera-saved-and-biases-f32",
  "dora-f32-patterns",
  "dora-bf16",
  "dora-bf16-stored-bf16",
  "dora-conv1d-bf16",
];

/** How names of random bases end. */
const BASES = /(?:randlora|vera)_[AB]$/;
const PREFIX = /^(base_model\.model\.)?/;

/** Where to write `name` for a case. */
async function place(of: Case, name: string): Promise<string> {
  const folder = join(of.folder, "converted");
  await mkdir(folder, { recursive: true });
  return join(folder, name);
}

async function convert(adapter: string, to: "peft" | "json", out: string, projections?: "yes" | "no"): Promise<string> {
  const extra = projections === undefined ? [] : ["--projections", projections];
  await randlora(["convert", adapter, "--to", to, "--out", out, ...extra]);
  return out;
}

function adapterOf(of: Case): string {
  const [adapter] = of.adapters;
  if (adapter === undefined) throw new Error(`${of.name} has no adapter`);
  return adapter;
}

/** The tensors of an adapter folder but for the random bases, without PEFT's prefix. */
function trained(folder: string): Map<string, StoredTensor> {
  const all = [...openTensors(join(folder, "adapter_model.safetensors"))];
  return new Map(all.filter(([name]) => !BASES.test(name)).map(([name, tensor]) => [name.replace(PREFIX, ""), tensor]));
}

/** Names of the random bases in an adapter folder. */
function projections(folder: string): string[] {
  const names = [...openTensors(join(folder, "adapter_model.safetensors")).keys()];
  return names.filter((name) => BASES.test(name)).toSorted();
}

/**
 * What PEFT says while it loads a folder that we wrote, but for what it must: it misses the copy of the bases in every
 * layer that it does not need, says that redrawn bases are redrawn, and that a tied head is tied.
 */
function complaints(warnings: string[], saved: boolean): string[] {
  return warnings.filter((text) => {
    const missing = /^Found missing adapter keys while loading the checkpoint: \[(.*?)\]/.exec(text)?.[1];
    if (missing !== undefined)
      return !missing.split(", ").every((key) => /(?:randlora|vera)_[AB]\.default'$/.test(key));
    if (/^Specified to not (?:save|load) (?:basis|vera)_A and (?:basis|vera)_B/.test(text)) return saved;
    return !text.includes("tie_word_embeddings=True");
  });
}

/** Load a folder in PEFT and demand the case's ΔW from it. */
async function expectSameDelta(of: Case, folder: string, saved: boolean): Promise<Record<string, string>> {
  const file = `${folder}-loaded.safetensors`;
  const loaded = await python.loadAdapter(of.base, folder, file);
  expect(complaints(loaded.warnings, saved)).toEqual([]);
  const deltas = openTensors(file);
  const exact = openTensors(join(of.folder, "exact.safetensors"));
  const base = openTensors(of.base);
  expect([...deltas.keys()].filter((name) => name.endsWith(".delta")).length).toBe(exact.size);
  for (const [name, tensor] of exact) {
    const delta = deltas.get(name.replace(/\.weight$/, ".delta"))?.values();
    const weight = (base.get(name) ?? base.get("model.embed_tokens.weight"))?.values();
    let worst = 0;
    for (const [i, value] of tensor.values().entries()) {
      worst = Math.max(worst, Math.abs((weight?.[i] ?? NaN) + (delta?.[i] ?? NaN) - value));
    }
    expect(worst).toBeLessThanOrEqual(1e-12 * (of.statistics[name]?.largest ?? 0));
  }
  return loaded.config;
}

describe.each(NAMES)("%s", (name) => {
  test("PEFT → adapter.json → PEFT loses nothing, and PEFT loads it", async () => {
    const of = await python.case(name);
    const json = await convert(adapterOf(of), "json", await place(of, "adapter.json"));
    const back = await convert(json, "peft", await place(of, "back"));

    const [before, after] = [trained(adapterOf(of)), trained(back)];
    expect([...after.keys()].toSorted()).toEqual([...before.keys()].toSorted());
    for (const [key, tensor] of before) {
      const found = after.get(key);
      expect(found?.dtype).toBe(tensor.dtype);
      expect(found?.shape).toEqual(tensor.shape);
      expect(Buffer.compare(found?.bytes() ?? Buffer.alloc(0), tensor.bytes())).toBe(0);
    }
    const settings = await python.config(adapterOf(of));
    expect({ ...(await python.config(back)), save_projection: "" }).toEqual({ ...settings, save_projection: "" });
    await expectSameDelta(of, back, (await python.config(back))["save_projection"] === "True");
  });

  test("adapter.json merges to the same bytes as the folder that it was made from", async () => {
    const of = await python.case(name);
    const json = await convert(adapterOf(of), "json", await place(of, "to-merge.json"));
    const generator = of.generator === null ? [] : ["--generator", of.generator];
    const [fromFolder, fromJson] = [await place(of, "from-folder"), await place(of, "from-json")];
    await merge([of.base, adapterOf(of), "--out", fromFolder, ...generator]);
    await merge([of.base, json, "--out", fromJson, ...generator]);
    expect(compareMerges(of, fromJson, fromFolder).differing).toBe(0);
  });
});

describe("--projections", () => {
  test.each(["dense-bf16-copies", "sparse-f32-copies", "very-sparse-bf16-pair", "vera-f32", "vera-bf16"])(
    "no: PEFT draws the bases of %s again",
    async (name) => {
      const of = await python.case(name);
      const bare = await convert(adapterOf(of), "peft", await place(of, "bare"), "no");
      expect(projections(bare)).toEqual([]);
      const config = await expectSameDelta(of, bare, false);
      expect(config["save_projection"]).toBe("False");
    },
  );

  test.each(["dense-bf16-pair", "sparse-f32-copies", "very-sparse-bf16-pair", "vera-f32", "vera-bf16"])(
    "yes: the bases of %s, which adapter.json only names, are drawn again",
    async (name) => {
      const of = await python.case(name);
      const json = await convert(adapterOf(of), "json", await place(of, "named.json"));
      const method = name.startsWith("vera") ? "vera" : "randlora";
      expect(await Bun.file(json).text()).not.toContain(`${method}_A`);
      const whole = await convert(json, "peft", await place(of, "whole"), "yes");
      const [ours, theirs] = [whole, adapterOf(of)].map((at) => openTensors(join(at, "adapter_model.safetensors")));
      for (const pair of [`base_model.${method}_A`, `base_model.${method}_B`]) {
        expect(ours?.get(pair)?.shape).toEqual(theirs?.get(pair)?.shape);
        expect(ours?.get(pair)?.values()).toEqual(theirs?.get(pair)?.values());
      }
      const config = await expectSameDelta(of, whole, true);
      expect(config["save_projection"]).toBe("True");
    },
  );

  test("yes: refused where nothing says at which shape PEFT drew them", async () => {
    const of = await python.case("sparse-bf16-redrawn");
    const refused = await convert(adapterOf(of), "peft", await place(of, "refused"), "yes").catch(String);
    expect(refused).toContain("ended with status 3");
    expect(refused).toContain("hint:");
  });
});
