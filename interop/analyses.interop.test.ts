import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { judge } from "./judge.ts";
import { EMBEDDED_MODEL } from "./models.ts";
import { randlora } from "./program.ts";
import { type Options, tinyModel, trainOurs } from "./training-judge.ts";

const python = await judge();
const TIMEOUT = 300_000;

/** Of different lengths: four words to forty. */
const TEXTS = Array.from({ length: 22 }, (_, i) => {
  const words = ["the robot", "a big door", "Sue", "painted blue", "said hello to", "a garden", "was happy and"];
  return Array.from({ length: 2 + ((i * 5) % 13) }, (__, k) => words[(i * 3 + k * (1 + (i % 4))) % words.length]).join(
    " ",
  );
});
/** Within every model's context. */
const LENGTH = 60;
const COMMON: Options = { steps: 8, "learning-rate": 5e-3, schedule: "constant", "batch-size": 4 };
const VARIANTS: Readonly<Record<string, Options>> = {
  randlora: { ...COMMON, rank: 8, targets: "all-linear" },
  full: { ...COMMON, method: "full", "learning-rate": 1e-3 },
  lora: { ...COMMON, method: "lora", rank: 4, targets: "all-linear" },
};

const Cka = v.object({
  layers: v.array(v.object({ name: v.string(), cka: v.record(v.string(), v.number()) })),
  samples: v.number(),
});
const TheirCka = v.record(v.string(), v.object({ full: v.array(v.number()), minibatch: v.array(v.number()) }));
const Plane = v.object({
  x: v.array(v.number()),
  y: v.array(v.number()),
  loss: v.array(v.array(v.number())),
  corners: v.object({ A: v.number(), B: v.number(), C: v.number() }),
});

let folder: string;
let data: string;
let valid: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-analyses-"));
  data = join(folder, "data.jsonl");
  valid = join(folder, "valid.jsonl");
  await Bun.write(valid, `${JSON.stringify({ text: TEXTS[5] })}\n`);
  await Bun.write(data, TEXTS.map((text) => `${JSON.stringify({ text })}\n`).join(""));
});
afterAll(() => rm(folder, { recursive: true }));

const MODELS = {
  "llama, tied embeddings, f32": () => Promise.resolve(STORIES),
  "qwen 3, tiny": () => tinyModel("qwen3-f32", STORIES, join(folder, "qwen3")),
  "gemma 2, tiny": () => tinyModel("gemma2-f32", STORIES, join(folder, "gemma2")),
  "phi 3 with LongRoPE, tiny": () => tinyModel("phi3-longrope-crossing", STORIES, join(folder, "phi3")),
  "the embedded model, bf16": () => Promise.resolve(EMBEDDED_MODEL),
} as const;

describe.each(Object.entries(MODELS))("%s", (name, find) => {
  let base: string;
  const runs: Record<string, string> = {};
  /** What Python loads. */
  const theirs = (variant: string) => join(runs[variant] ?? "", variant === "full" ? "model" : "adapter");
  beforeAll(async () => {
    base = await find();
    for (const [variant, options] of Object.entries(VARIANTS)) {
      runs[variant] = join(folder, `${name}-${variant}`);
      await trainOurs({ base, options, data, valid: valid }, runs[variant]);
    }
  }, TIMEOUT);

  test.each(["full", "minibatch"] as const)(
    "CKA, estimated by %s, is numpy's from transformers' activations",
    async (estimator) => {
      const batch = 9;
      const adapters = [join(runs["lora"] ?? "", "adapter"), join(runs["randlora"] ?? "", "adapter")];
      const flags = adapters.flatMap((adapter) => ["--adapter", adapter]);
      const size = estimator === "minibatch" ? ["--batch-size", String(batch)] : [];
      const args = [
        base,
        "--reference",
        runs["full"] ?? "",
        ...flags,
        "--max-length",
        String(LENGTH),
        "--data",
        data,
        "--estimator",
        estimator,
        ...size,
      ];
      const ours = v.parse(Cka, JSON.parse(await randlora(["analyze", "cka", ...args, "--json"])));
      expect(ours.samples).toBe(TEXTS.length);
      const params = { base, data, length: LENGTH, reference: theirs("full"), adapters, batch };
      const wanted = await python.request(TheirCka, "cka", params);
      expect(ours.layers.map((layer) => layer.name)).toEqual(Object.keys(wanted));
      for (const layer of ours.layers) {
        for (const [at, adapter] of adapters.entries()) {
          const theirValue = wanted[layer.name]?.[estimator][at] ?? NaN;
          expect(Math.abs((layer.cka[adapter] ?? NaN) - theirValue), layer.name).toBeLessThan(1e-3);
        }
      }
      const values = ours.layers.flatMap(({ cka }) => Object.values(cka));
      expect(Math.min(...values)).toBeLessThan(0.99);
    },
    TIMEOUT,
  );

  test(
    "losses in a plane are PyTorch's",
    async () => {
      const at = ["randlora", "full", "lora"].flatMap((variant) => ["--at", runs[variant] ?? ""]);
      const args = [
        base,
        ...at,
        "--data",
        data,
        "--max-length",
        String(LENGTH),
        "--grid",
        "4",
        "--range",
        "-1,1.5,-0.5,2",
      ];
      const { x, y, loss, corners } = v.parse(
        Plane,
        JSON.parse(await randlora(["analyze", "plane", ...args, "--json"])),
      );
      const points = [[0, 0], [0.5, 1], [1, 0], ...y.flatMap((placeY) => x.map((placeX) => [placeX, placeY]))];
      const shares = points.map(([px = 0, py = 0]) => [1 - px - py / 2, py, px - py / 2]);
      const params = { base, data, length: LENGTH, corners: ["randlora", "full", "lora"].map(theirs), points: shares };
      const wanted = await python.request(v.array(v.number()), "plane", params);
      const found = [corners.A, corners.B, corners.C, ...loss.flat()];
      expect(found).toHaveLength(wanted.length);
      for (const [i, value] of wanted.entries()) {
        expect(Math.abs((found[i] ?? NaN) - value) / value, `point ${points[i]?.join(", ")}`).toBeLessThan(1e-4);
      }
    },
    TIMEOUT,
  );
});
