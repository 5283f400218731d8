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
import { type Options, tinyModel } from "./training-judge.ts";

const python = await judge();

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-rivals-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** PEFT's configuration classes, and what they are asked for. */
const RIVALS: Readonly<Record<string, readonly [config: string, options: Options]>> = {
  miss: ["MissConfig", { r: 24 }],
  "miss, mini": ["MissConfig", { r: 5, init_weights: "mini", mini_r: 4 }],
};

describe.each(["llama-f32", "qwen2-f16", "mistral-bf16"] as const)("on %s", (model) => {
  const base = () => join(folder, model);
  beforeAll(() => tinyModel(model, STORIES, base()));

  test.each(Object.keys(RIVALS))("%s of PEFT is merged as PEFT does", async (name) => {
    const [config, options] = RIVALS[name] ?? ["", {}];
    const out = join(folder, `${model} ${name}`);
    await python.request(v.null(), "rival", { name: config, base: base(), options, out });
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
        far = Math.max(far, dtype === "f32" ? apart / largest / 1e-6 : apart / ulp(value, dtype));
      });
    }
    expect(far).toBeLessThanOrEqual(1);
    if (dtype !== "f32") expect(equal / count).toBeGreaterThanOrEqual(0.999);
    expect(changed / count).toBeGreaterThan(0.2);
  });
});
