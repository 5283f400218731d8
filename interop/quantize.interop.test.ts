import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { BLOCK, quantBytes, toBlocks } from "../src/compute/device/blocks.ts";
import { NAMED_BLOCKS } from "../src/compute/device/dtype.ts";
import { judge } from "./judge.ts";
import { EMBEDDED_MODEL, smollm2 } from "./models.ts";
import { passed, SMOLLM2 } from "./verified.ts";
import { randlora, ROOT } from "./program.ts";
import { openTensors } from "./tensors.ts";
import { tokensOf } from "./tokens.ts";
import { largestRelative, type Options, trainOurs, trainTheirs } from "./training-judge.ts";
import { jsonLines, STORY_TEXTS } from "./training-texts.ts";

// Python's gguf is the yardstick: what `--quantize` computes with are the numbers that it rounds weights to.

const python = await judge();
const FORMATS = ["q8", "q4"] as const;
const CONTEXT = 100;
const TIMEOUT = 600_000;

let folder: string;
let text: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-quantize-"));
  text = join(folder, "text");
  await Bun.write(text, (await Bun.file(join(ROOT, "LICENSE")).text()).slice(0, 1200));
});
afterAll(() => rm(folder, { recursive: true }));

const made = new Map<string, Promise<string>>();

/** The model with the weights that gguf rounded, made once. */
function roundedModel(base: string, format: string): Promise<string> {
  const out = join(folder, `${Bun.hash(base)}-${format}`);
  const make = async () => {
    expect(await python.request(v.number(), "rounded_model", { base, format, out })).toBeGreaterThan(10);
    return out;
  };
  const known = made.get(out) ?? make();
  made.set(out, known);
  return known;
}

/** The tokens of the text. */
test.each(FORMATS)("the blocks of a model's weights in %s are gguf's, byte for byte", async (format) => {
  const dtype = NAMED_BLOCKS[format];
  const weights = [...openTensors(STORIES)].filter(
    ([, { shape }]) => shape.length === 2 && (shape[1] ?? 0) % BLOCK === 0,
  );
  const out = join(folder, `blocks-${format}`);
  await python.request(v.null(), "blocks", {
    values: join(STORIES, "model.safetensors"),
    names: weights.map(([name]) => name),
    format,
    out,
  });
  const wanted = openTensors(out);
  for (const [name, tensor] of weights) {
    const { quants, scales } = toBlocks(Float32Array.from(tensor.values()), dtype);
    const size = quantBytes(dtype);
    const bytes = wanted.get(name)?.bytes() ?? new Uint8Array();
    expect(bytes.length, name).toBe(scales.length * (2 + size));
    const ours = new Uint8Array(bytes.length);
    for (let block = 0; block < scales.length; block++) {
      ours.set(new Uint8Array(scales.buffer, 2 * block, 2), block * (2 + size));
      ours.set(quants.subarray(block * size, (block + 1) * size), block * (2 + size) + 2);
    }
    expect(Buffer.compare(ours, bytes), name).toBe(0);
  }
  expect(weights.length).toBeGreaterThan(20);
});

const Perplexity = v.object({
  base: v.object({ perplexity: v.number() }),
  adapted: v.optional(v.object({ perplexity: v.number() })),
});

describe.each([
  ["storyteller", async () => STORIES, FORMATS],
  ["embedded", async () => EMBEDDED_MODEL, FORMATS],
  ["smollm2-135m", smollm2, ["q4"]],
] as const)("%s", (_, find, formats) => {
  test.each(formats)(
    "the perplexity with weights in %s is PyTorch's with weights that gguf rounded",
    async (format) => {
      const base = await find();
      const args = ["eval", "perplexity", base, "--file", text, "--context", String(CONTEXT), "--quantize", format];
      const ours = v.parse(Perplexity, JSON.parse(await randlora([...args, "--json"])));
      const rounded = await roundedModel(base, format);
      const params = { base: rounded, adapter: null, ...(await tokensOf(base, text)), context: CONTEXT };
      const wanted = await python.request(v.number(), "perplexity", params);
      expect(Math.abs(ours.base.perplexity / Math.exp(wanted) - 1)).toBeLessThan(2e-3);
      if (find === smollm2) await passed(base, ["quantize"], SMOLLM2);
    },
    TIMEOUT,
  );
});

/** 20 steps beside quantized weights, and PEFT's on the rounded base. */
const RECIPE = {
  steps: 20,
  "batch-size": 2,
  "learning-rate": 3e-3,
  targets: "q_proj,v_proj,up_proj,down_proj",
} as const;

test.each<[string, Options, boolean]>([
  ["q8", { ...RECIPE, rank: 8 }, false],
  ["q4", { ...RECIPE, rank: 8, compute: "merged", sparse: true }, false],
  ["q8", { ...RECIPE, method: "lora", rank: 4 }, true],
  ["q4", { ...RECIPE, method: "dora", rank: 4 }, true],
])(
  "20 steps beside weights in %s are PEFT's on weights that gguf rounded: %p",
  async (format, options, starts) => {
    const place = join(folder, `train-${Bun.hash(JSON.stringify([format, options]))}`);
    const [data, valid] = [join(place, "train.jsonl"), join(place, "valid.jsonl")];
    await Bun.write(data, jsonLines(STORY_TEXTS.training));
    await Bun.write(valid, jsonLines(STORY_TEXTS.heldOut));
    const job = { base: STORIES, options: { ...options, quantize: format }, data, valid };
    const start = join(place, "start");
    if (starts) await trainOurs({ ...job, options: { ...job.options, steps: 1, "learning-rate": 0 } }, start);
    const run = join(place, "run");
    const ours = await trainOurs(job, run);
    const rounded = await roundedModel(STORIES, format);
    const theirs = await trainTheirs(
      { ...job, base: rounded, options },
      20,
      starts ? join(start, "adapter") : undefined,
      join(place, "theirs"),
    );
    const losses = (course: typeof ours) => course.steps.map(({ loss }) => loss);
    expect(largestRelative(losses(ours), losses(theirs))).toBeLessThan(5e-3);
    expect(largestRelative(ours.validLosses, theirs.validLosses)).toBeLessThan(5e-3);
    const [before = NaN, after = NaN] = theirs.validLosses;
    expect(before - after).toBeGreaterThan(0.05);
    // What was trained, beside the same weights: as PEFT evaluates it.
    const args = ["eval", "perplexity", run, "--file", text, "--context", String(CONTEXT), "--quantize", format];
    const { adapted } = v.parse(Perplexity, JSON.parse(await randlora([...args, "--json"])));
    const params = {
      base: rounded,
      adapter: join(run, "adapter"),
      ...(await tokensOf(STORIES, text)),
      context: CONTEXT,
    };
    const wanted = await python.request(v.number(), "perplexity", params);
    expect(Math.abs((adapted?.perplexity ?? NaN) / Math.exp(wanted) - 1)).toBeLessThan(2e-3);
  },
  TIMEOUT,
);
