import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { AdaptedWeights } from "../src/adapters/merge/in-memory/weights.ts";
import { openTestDevice } from "../src/compute/device/testing/open.ts";
import { loadDecoder } from "../src/models/folder/load-decoder.ts";
import { judge } from "./judge.ts";
import { merge, randlora } from "./program.ts";
import { formatTable } from "./table.ts";
import { openTensors } from "./tensors.ts";
import { type Options, tinyModel, trainOurs } from "./training-judge.ts";
import { logitsAfter } from "../src/models/testing/logits.ts";

const python = await judge();
const TIMEOUT = 300_000;

const TEXTS = [
  "Once upon a time there was a robot who liked to paint. He painted a big blue door.",
  "The robot opened the door, and behind it was a garden full of red flowers.",
  "Sue said hello to the robot. The robot was shy, so he hid behind the door.",
];
const PROMPTS = [[1], [1, 403, 407, 261, 378], Array.from({ length: 30 }, (_, i) => 3 + ((i * 37) % 500))];
const TRAINING: Options = { steps: 12, "learning-rate": 2e-3, schedule: "constant", "batch-size": 3 };
const TARGETS = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj";

const CASES: Readonly<Record<string, Options>> = {
  dense: { targets: TARGETS, rank: 8 },
  "dense, redrawn": { targets: TARGETS, rank: 8, "basis-seed": -5, projections: "no" },
  sparse: { targets: TARGETS, rank: 5, sparse: true },
  "sparse, redrawn": { targets: "all-linear", rank: 16, sparse: true, projections: "no" },
  "very sparse, redrawn": { targets: TARGETS, rank: 7, "very-sparse": true, projections: "no", "basis-seed": 4 },
  "philox, default targets": { rank: 8, generator: "philox-v1" },
  "two layers, a regular expression": { targets: ".*layers\\.[13]\\.mlp\\.(up|down)_proj", rank: 64 },
  lora: { method: "lora", targets: TARGETS, rank: 4 },
  vera: { method: "vera", targets: TARGETS, "learning-rate": 5e-2 },
  "vera, redrawn": { method: "vera", targets: TARGETS, "learning-rate": 5e-2, "basis-seed": -5, projections: "no" },
  "vera, philox": { method: "vera", targets: "all-linear", rank: 64, "learning-rate": 5e-2, generator: "philox-v1" },
  dora: { method: "dora", targets: TARGETS, rank: 4 },
  kradapter: { method: "kradapter", targets: TARGETS, "learning-rate": 1e-2 },
};

let folder: string;
let data: string;
let valid: string;
const rows: string[][] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-trained-"));
  [data, valid] = [join(folder, "train.jsonl"), join(folder, "valid.jsonl")];
  await Bun.write(data, TEXTS.map((text) => `${JSON.stringify({ text })}\n`).join(""));
  await Bun.write(valid, `${JSON.stringify({ text: TEXTS[0] })}\n`);
});
afterAll(async () => {
  await rm(folder, { recursive: true });
  const head = ["", "nll of the base", "adapted", "merged", "merged folder"];
  process.stdout.write(`\n${formatTable(head, rows)}`);
});

const train = (base: string, options: Options, out: string) =>
  trainOurs({ base, options: { ...TRAINING, ...options }, data, valid }, out);

/** Logits after each prompt: by transformers, with an adapter by PEFT. */
async function theirLogits(base: string, adapter: string | null): Promise<number[][]> {
  const out = join(folder, "logits.safetensors");
  await python.request(v.null(), "last_logits", { base, adapter, prompts: PROMPTS, out });
  const tensors = openTensors(out);
  return PROMPTS.map((_, i) => [...(tensors.get(String(i))?.values() ?? [])]);
}

/** Ours, of the base with an adapter in memory. */
async function ourLogits(base: string, adapter: string): Promise<number[][]> {
  using gpu = await openTestDevice();
  using decoder = await loadDecoder(gpu, base);
  await using weights = await AdaptedWeights.open(decoder, base);
  await weights.apply([{ path: adapter, scale: 1 }]);
  const logits: number[][] = [];
  for (const prompt of PROMPTS) {
    logits.push([...(await logitsAfter(decoder, prompt))]);
  }
  return logits;
}

/** The largest distance of two logits, as a part of the largest logit. */
function distance(found: readonly number[][], wanted: readonly number[][]): number {
  const all = wanted.flat();
  const others = found.flat();
  expect(others.length).toBe(all.length);
  const largest = all.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0);
  return all.reduce((most, logit, i) => Math.max(most, Math.abs((others[i] ?? NaN) - logit)), 0) / largest;
}

describe("what is trained computes the same in PEFT, here, and merged", () => {
  for (const [name, options] of Object.entries(CASES)) {
    test(
      name,
      async () => {
        const base = STORIES;
        const run = join(folder, name);
        await train(base, options, run);
        const adapter = join(run, "adapter");
        const peft = await theirLogits(base, adapter);
        const merged = join(folder, `${name}-merged`);
        await merge([base, run, "--out", merged]);
        expect(distance(await ourLogits(base, adapter), peft)).toBeLessThan(1e-3);
        expect(distance(await theirLogits(merged, null), peft)).toBeLessThan(1e-3);
        expect(distance(await theirLogits(base, null), peft)).toBeGreaterThan(0.05);
        const names = [...openTensors(join(adapter, "adapter_model.safetensors")).keys()];
        const hasBases = options["method"] === undefined || options["method"] === "vera";
        const saves = options["projections"] !== "no" && hasBases;
        expect(names.filter((tensor) => /^base_model\.(?:randlora|vera)_/.test(tensor))).toHaveLength(saves ? 2 : 0);
      },
      TIMEOUT,
    );
  }
});

test(
  "KRAdapter's merge is numpy's in f64, rounded once",
  async () => {
    const [run, merged, out] = [join(folder, "kr"), join(folder, "kr-merged"), join(folder, "kr.safetensors")];
    await train(STORIES, { method: "kradapter", targets: TARGETS, rank: 5, "learning-rate": 1e-2 }, run);
    await merge([STORIES, run, "--out", merged]);
    await python.request(v.null(), "kradapter_merged", { base: STORIES, adapter: join(run, "adapter"), out });
    const [ours, exact] = [openTensors(merged), openTensors(out)];
    expect(exact.size).toBe(35);
    for (const [name, tensor] of exact) {
      const found = ours.get(name)?.values() ?? [];
      // Of a product of two factors and a sum, each rounded.
      tensor.values().forEach((value, at) => expect(Math.abs((found[at] ?? NaN) - value)).toBeLessThan(2 ** -22));
    }
  },
  TIMEOUT,
);

test.each(["llama-f32", "qwen2-f16", "mistral-bf16"])(
  "a DoRA of %s begins with PEFT's magnitudes: norms in the weight's dtype",
  async (name) => {
    const base = await tinyModel(name, STORIES, join(folder, `${name}-base`));
    const run = join(folder, `${name}-dora`);
    await train(base, { method: "dora", targets: "all-linear", steps: 1, "learning-rate": 0 }, run);
    const out = join(folder, `${name}-magnitudes.safetensors`);
    await python.request(v.null(), "initial_magnitudes", { base, targets: "all-linear", out });
    const [ours, theirs] = [openTensors(join(run, "adapter", "adapter_model.safetensors")), openTensors(out)];
    const names = [...ours.keys()].filter((tensor) => tensor.endsWith("magnitude_vector"));
    expect(names.toSorted()).toEqual([...theirs.keys()].toSorted());
    let [differing, count, worst] = [0, 0, 0];
    for (const [tensor, stored] of theirs) {
      const found = ours.get(tensor)?.values();
      for (const [i, value] of stored.values().entries()) {
        const apart = Math.abs((found?.[i] ?? NaN) / value - 1);
        worst = Math.max(worst, apart);
        count++;
        if (apart !== 0) differing++;
      }
    }
    // A norm halfway between two numbers of 16 bits may go either way.
    if (name.endsWith("f32")) expect(worst).toBeLessThan(1e-6);
    else expect(differing).toBeLessThanOrEqual(count / 1000);
  },
  TIMEOUT,
);

const Measured = v.object({ nll: v.number(), perplexity: v.number() });
const Report = v.object({ base: Measured, adapted: v.optional(Measured), merged: v.optional(Measured) });

describe("merging keeps what was trained", () => {
  const measure = async (model: string, ...more: string[]) => {
    const args = ["eval", "perplexity", model, "--file", join(folder, "text"), "--context", "100", "--json", ...more];
    return v.parse(Report, JSON.parse(await randlora(args)));
  };
  beforeAll(() => Bun.write(join(folder, "text"), TEXTS.join("\n\n")));

  test.each(["f32", "bf16"] as const)(
    "of a %s checkpoint",
    async (dtype) => {
      let base = STORIES;
      const adapter = join(folder, `on-${dtype}`);
      if (dtype === "bf16") {
        // The same model in bf16: merged with an adapter that was just begun, which adds nothing.
        await train(base, { steps: 1, "learning-rate": 0, rank: 8 }, join(folder, "nothing"));
        const rounded = join(folder, "base-bf16");
        await merge([base, join(folder, "nothing"), "--out", rounded, "--dtype", "bf16"]);
        base = rounded;
      }
      await train(base, { targets: TARGETS, rank: 8, sparse: true }, adapter);
      const found = await measure(base, "--adapter", adapter, "--merged");
      const merged = join(folder, `merged-${dtype}`);
      await merge([base, adapter, "--out", merged]);
      const alone = await measure(merged);
      const all = [found.base, found.adapted, found.merged, alone.base].map((one) => one?.nll ?? NaN);
      rows.push([dtype, ...all.map((nll) => nll.toFixed(6))]);
      const [before = NaN, adapted = NaN, mergedNll = NaN, folderNll = NaN] = all;
      // What was trained shows, and merging to the checkpoint's dtype loses hardly any of it.
      expect(before - adapted).toBeGreaterThan(0.1);
      expect(Math.abs(mergedNll - adapted)).toBeLessThan(dtype === "f32" ? 1e-4 : 2e-2);
      expect(Math.abs(folderNll - mergedNll)).toBeLessThan(1e-4);
    },
    TIMEOUT,
  );
});
