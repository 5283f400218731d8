import { afterAll, beforeAll, expect, test } from "bun:test";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { join } from "node:path";
import { expectedStories, STORIES } from "../../../fixtures/stories/storyteller.ts";
import { CpuDevice } from "../../compute/cpu/cpu.ts";
import { openTestDevice, TEST_DEVICE } from "../../compute/device/testing/open.ts";
import { merge } from "../../adapters/merge/to-files/run.ts";
import { SILENT } from "../../terminal/progress.ts";
import { readModel, rounded, widened, writeAdapter, writeModel } from "../../adapters/merge/testing/models.ts";
import { numbers, writeFolder } from "../../adapters/testing/adapters.ts";
import { writePackedExperts } from "../../models/testing/packed-experts.ts";
import { comparePerplexity, type ComparisonOptions, givenTexts } from "./compare.ts";
import { windows } from "./perplexity.ts";

const layer = (index: number, name: string) => `model.layers.${index}.${name}`;

let folder: TemporaryFolder;
/** The stories model in BF16. */
let half: string;
let adapter: string;
let ids: number[];
beforeAll(async () => {
  folder = await TemporaryFolder.create();
  const tensors = Object.entries(await readModel(STORIES)).map(([name, tensor]) => [
    name,
    { ...tensor, dtype: "BF16", data: rounded(widened(tensor), "BF16") },
  ]);
  const config = await Bun.file(join(STORIES, "config.json")).json();
  half = await writeModel(folder.at("half"), { tensors: Object.fromEntries(tensors), config });
  adapter = await writeAdapter(folder.at("adapter"), {
    r: 4,
    alpha: 32,
    seed: 1,
    size: 0.1,
    modules: {
      [layer(0, "self_attn.q_proj")]: [64, 64],
      [layer(2, "mlp.down_proj")]: [64, 172],
      [layer(3, "mlp.up_proj")]: [172, 64],
      lm_head: [512, 64],
    },
  });
  [{ ids }] = await expectedStories();
}, 60_000);
afterAll(() => folder[Symbol.asyncDispose]());

const cut = (of: readonly number[], size: number) => givenTexts(windows(of, size), size);

async function compare(model: string, options: Partial<ComparisonOptions> = {}) {
  const location = { folder: model, weights: undefined };
  using opened = new DisposableStack();
  const open = async () => opened.use(await openTestDevice());
  return await comparePerplexity(cut(ids, 16), { location, merged: false, open, ...options });
}

async function mergedFolder(base: string, dtype: "keep" | "f32"): Promise<string> {
  const out = folder.at(`merged-${dtype}`);
  const none = { generator: undefined, unmerge: false, verify: false, force: true, dryRun: false, device: TEST_DEVICE };
  const options = {
    base,
    adapters: [adapter],
    scales: [2],
    out,
    dtype,
    rounding: "once",
    maxShardSize: 5e9,
    ...none,
  } as const;
  await merge(options, SILENT, new AbortController().signal);
  return out;
}

test("base, adapted and merged are what the base and the folders that merge writes give, bit for bit", async () => {
  const counted: number[] = [];
  let passes = 0;
  const found = await compare(half, {
    adapter: { path: adapter, scale: 2 },
    merged: true,
    onPasses: (count) => (passes = count),
    onTokens: (tokens) => counted.push(tokens),
  });
  expect(found.mergedDtypes).toEqual(["BF16"]);
  expect(passes).toBe(3);
  expect(counted.reduce((sum, tokens) => sum + tokens, 0)).toBe(3 * ids.length);
  expect(found.base).toEqual((await compare(half)).base);
  expect(found.adapted).toEqual((await compare(await mergedFolder(half, "f32"))).base);
  expect(found.merged).toEqual((await compare(await mergedFolder(half, "keep"))).base);
  expect(new Set([found.base, found.adapted, found.merged].map((one) => one?.nll)).size).toBe(3);
});

test("an f32 checkpoint loses nothing by merging, and is not measured for it", async () => {
  let passes = 0;
  const found = await compare(STORIES, {
    adapter: { path: adapter, scale: 2 },
    merged: true,
    onPasses: (count) => (passes = count),
  });
  expect(passes).toBe(2);
  expect(found.merged).toEqual(found.adapted);
  expect(found.adapted).toEqual((await compare(await mergedFolder(STORIES, "keep"))).base);
  expect(await compare(STORIES, { adapter: { path: adapter, scale: 2 } })).toMatchObject({ merged: undefined });
});

test("weights that are stored in blocks stay in them where the adapter changes them, and nothing is merged into them", async () => {
  const base = folder.at("packed");
  await writePackedExperts(base, 1, { vocab_size: 512 });
  const experts = "base_model.model.model.layers.0.mlp.experts";
  const config = {
    peft_type: "LORA",
    r: 2,
    lora_alpha: 4,
    target_modules: [],
    target_parameters: ["experts.down_proj"],
  };
  const path = await writeFolder(folder.at("of-experts"), config, {
    [`${experts}.lora_A.weight`]: numbers([16, 64]),
    [`${experts}.lora_B.weight`]: numbers([32, 16]),
  });
  const found = await compare(base, { adapter: { path, scale: 1 } });
  expect(found.quantized).toEqual((await compare(base)).quantized);
  expect(found.quantized?.dtype).toBe("MXFP4");
  expect(found.adapted).not.toEqual(found.base);
  await expect(compare(base, { adapter: { path, scale: 1 }, merged: true })).rejects.toMatchObject({
    code: "usage",
    message: expect.stringContaining("--merged: weights stay in MXFP4"),
  });
});

test("an adapter that does not fit is refused before a GPU is opened", async () => {
  const modules = { [layer(0, "self_attn.q_proj")]: [60, 64] } as const;
  const foreign = await writeAdapter(folder.at("foreign"), { r: 4, alpha: 4, seed: 1, modules });
  const open = () => Promise.reject(new Error("opened"));
  await expect(compare(STORIES, { adapter: { path: foreign, scale: 1 }, open })).rejects.toMatchObject({
    code: "adapter",
  });
});

test("under --memory windows that do not fit are refused before anything is read of the text, with one that does", async () => {
  const many = Array.from({ length: 600 }, (_, at) => at % 500);
  const location = { folder: STORIES, weights: undefined };
  const measure = async (context: number, memory: number | undefined) => {
    let passes = 0;
    using device = await CpuDevice.open({ threads: 1, memory });
    const open = async () => device;
    const onPasses = (count: number): void => void (passes = count);
    const found = await comparePerplexity(cut(many, context), { location, merged: false, open, onPasses }).catch(
      String,
    );
    return { found, passes };
  };
  const whole = await measure(512, 3e6);
  const [, context] = /--context (\d+) fits, or raise --memory/.exec(String(whole.found)) ?? [];
  expect(whole).toEqual({ found: expect.stringContaining("windows of 512 tokens take"), passes: 0 });
  expect((await measure(Number(context), 3e6)).passes).toBe(1);
  expect((await measure(512, undefined)).passes).toBe(1);
});
