import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { judge } from "./judge.ts";
import { merge } from "./program.ts";
import { type FloatFormat, ulp } from "./rounding.ts";
import { openTensors } from "./tensors.ts";
import { jsonLines, STORY_TEXTS } from "./training-texts.ts";
import { type Course, largestRelative, tinyModel, trainOurs, trainTheirs, validLossOf } from "./training-judge.ts";

const python = await judge();

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-rivals-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** A configuration class of PEFT, what it is asked for, how far its parameters are moved, and ours for twenty steps. */
interface Rival {
  readonly config: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly spread?: number;
  readonly rate: number;
}

const RIVALS: Readonly<Record<string, Rival>> = {
  miss: { config: "MissConfig", options: { r: 24 }, rate: 1e-3 },
  "miss, mini": { config: "MissConfig", options: { r: 5, init_weights: "mini", mini_r: 4 }, rate: 1e-3 },
  "miss, bat": {
    config: "MissConfig",
    options: { r: 8, init_weights: "bat", target_modules: "(.*)self_attn[.][qkvo]_proj" },
    rate: 2e-3,
  },
  c3a: { config: "C3AConfig", options: { block_size: 4 }, spread: 3, rate: 0.05 },
  "c3a, sizes": {
    config: "C3AConfig",
    options: { block_size: 4, block_size_pattern: { q_proj: 16, "1.*o_proj": 8 } },
    spread: 3,
    rate: 0.05,
  },
  hira: { config: "HiraConfig", options: { r: 8 }, spread: 0.3, rate: 5e-3 },
  oft: { config: "OFTConfig", options: { oft_block_size: 8 }, rate: 5e-3 },
  // 24 divides nothing here: PEFT takes what does next to it.
  "oft, exact": {
    config: "OFTConfig",
    options: { oft_block_size: 24, use_cayley_neumann: false, num_cayley_neumann_terms: 3 },
    rate: 5e-3,
  },
  "oft, shared": { config: "OFTConfig", options: { oft_block_size: 16, block_share: true }, rate: 5e-3 },
  shira: { config: "ShiraConfig", options: { r: 6, random_seed: 1 }, rate: 3e-3 },
  delora: {
    config: "DeloraConfig",
    options: { r: 6, rank_pattern: { "self_attn.v_proj": 3 }, lambda_pattern: { "0.*k_proj": 4 } },
    rate: 1e-3,
  },
  gralora: { config: "GraloraConfig", options: { r: 8, alpha: 4, gralora_k: 4 }, rate: 5e-3 },
};

/** PEFT's adapter of a base, as if it had been trained. */
async function rivalOf(name: string, base: string, out: string): Promise<string> {
  const { config, options, spread = 0.05 } = RIVALS[name] ?? {};
  await python.request(v.null(), "rival", { name: config, base, options, spread, out });
  return out;
}

describe.each(["llama-f32", "qwen2-f16", "mistral-bf16"] as const)("on %s", (model) => {
  const base = () => join(folder, model);
  beforeAll(() => tinyModel(model, STORIES, base()));

  test.each(Object.keys(RIVALS))("%s of PEFT is merged as PEFT does", async (name) => {
    const out = await rivalOf(name, base(), join(folder, `${model} ${name}`));
    const merged = `${out} merged`;
    await merge([base(), out, "--out", merged, "--rounding", "peft", "--verify"]);
    const dtype = (/f32|bf16|f16/.exec(model)?.[0] ?? "f32") as FloatFormat;
    const [ours, before] = [openTensors(merged), openTensors(base())];
    let [count, equal, changed, far] = [0, 0, 0, 0];
    for (const [tensor, theirs] of openTensors(`${out}.merged`)) {
      if (tensor === "lm_head.weight" && !ours.has(tensor)) continue; // the embedding's
      const [found, old] = [ours.get(tensor)?.values() ?? [], before.get(tensor)?.values() ?? []];
      const wanted = [...theirs.values()];
      const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      wanted.forEach((value, at) => {
        const apart = Math.abs((found[at] ?? NaN) - value);
        count++;
        if (apart === 0) equal++;
        if (value !== old[at]) changed++;
        far = Math.max(
          far,
          dtype === "f32"
            ? apart / largest / 1e-6
            : apart / Math.max(ulp(value, dtype), ulp(value - (old[at] ?? NaN), dtype)),
        );
      });
    }
    // Of f32 millionths of the largest, else units.
    expect(far).toBeLessThanOrEqual(1);
    if (dtype !== "f32") expect(equal / count).toBeGreaterThanOrEqual(0.999);
    expect(changed / count).toBeGreaterThan(0.05);
  });
});

test("intruder dimensions of a LoRA are reduced as PEFT reduces them", async () => {
  const [base, out] = [STORIES, join(folder, "intruders")];
  await python.request(v.null(), "intruders_reduced", { base, out });
  const merged = `${out} merged`;
  const { intruders } = await merge([base, out, "--out", merged, "--reduce-intruders", "0.75", "--verify"]);
  expect(intruders).toBeGreaterThan(0);
  const ours = openTensors(merged);
  for (const [tensor, theirs] of openTensors(`${out}.merged`)) {
    if (tensor === "lm_head.weight" && !ours.has(tensor)) continue; // the embedding's
    const [found, wanted] = [ours.get(tensor)?.values() ?? [], [...theirs.values()]];
    const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const far = wanted.reduce((most, value, at) => Math.max(most, Math.abs((found[at] ?? NaN) - value)), 0);
    expect(far / largest, tensor).toBeLessThan(1e-5);
  }
});

test.each(Object.keys(RIVALS))("twenty steps of %s are PEFT's, from its adapter", async (name) => {
  const place = join(folder, `trained ${name}`);
  const [data, valid] = [join(place, "train.jsonl"), join(place, "valid.jsonl")];
  await Bun.write(data, jsonLines(STORY_TEXTS.training));
  await Bun.write(valid, jsonLines(STORY_TEXTS.heldOut));
  const adapter = await rivalOf(name, STORIES, join(place, "start"));
  const options = { steps: 20, "batch-size": 2, "learning-rate": RIVALS[name]?.rate ?? NaN, "grad-clip": 0 };
  const job = { base: STORIES, options, data, valid };
  const run = join(place, "run");
  const ours = await trainOurs({ ...job, options: { ...options, "init-adapter": adapter } }, run);
  const theirs = await trainTheirs(job, 20, adapter, join(place, "theirs"));
  const losses = ({ steps, validLosses }: Course) => [...validLosses, ...steps.map(({ loss }) => loss)];
  expect(largestRelative(losses(ours), losses(theirs))).toBeLessThan(1e-3);
  const [before = NaN, after = NaN] = theirs.validLosses;
  expect(before - after).toBeGreaterThan(0.02);
  // What we wrote is in PEFT what it is here.
  const reloaded = await validLossOf(job, join(run, "adapter"));
  expect(Math.abs(reloaded / (ours.validLosses[1] ?? NaN) - 1)).toBeLessThan(1e-5);
});
