// Whatever the vectors' width and the number of threads, machine code leaves the same bytes.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { expectedStories, STORIES } from "../../../fixtures/stories/storyteller.ts";
import { ADAPTER, mergeIn, modelOf } from "../../adapters/merge/testing/merge.ts";
import { DecodeLoop } from "../../chat/generation/decode-loop.ts";
import { decode } from "../../chat/testing/decoder.ts";
import { DEFAULT_SAMPLING } from "../../chat/generation/sampling.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { runToEnd } from "../../files/testing/process.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import { writeArchitecture } from "../../models/testing/architectures.ts";
import { outcomeOf, Recording, settingsFor, trainInto, writeTexts } from "../../train/testing/runs.ts";
import type { AskedSettings } from "../../train/settings/resolve-settings.ts";
import { CpuDevice } from "./cpu.ts";
import { availableCodes, type CpuCode } from "./native/choose.ts";

setDefaultTimeout(120_000);

const CODES = availableCodes().filter((code) => code !== "wasm");
const WAYS = CODES.flatMap((code) => [1, 2, 3].map((threads) => ({ code, threads })));

let folder: TemporaryFolder;
let data: string;
beforeAll(async () => {
  folder = await TemporaryFolder.create();
  data = await writeTexts(folder.at("train.jsonl"), 8);
});
afterAll(() => folder[Symbol.asyncDispose]());

/** Some of them for what takes longer: each code, and each number of threads. */
const FEW_WAYS = WAYS.filter(({ code, threads }) => code === CODES[threads % CODES.length]);

/** What comes of something in these ways, each the same as the first. */
async function same<T>(
  compute: (way: (typeof WAYS)[number]) => Promise<T>,
  ways: readonly (typeof WAYS)[number][] = WAYS,
): Promise<void> {
  const outcomes: T[] = [];
  for (const way of ways) outcomes.push(await compute(way));
  for (const other of outcomes) expect(other).toEqual(outcomes[0] as T);
}

/** All files of a run but its state's, which names what computed it. */
async function bytesOf(run: string): Promise<Record<string, string>> {
  const files = Object.entries(await outcomeOf(run)).filter(([name]) => !name.endsWith("state.json"));
  expect(files.length).toBeGreaterThan(3);
  return Object.fromEntries(files);
}

test("merges", async () => {
  const { RANDLORA_CPU_CODE: named } = process.env;
  try {
    await same(async ({ code, threads }) => {
      process.env["RANDLORA_CPU_CODE"] = code;
      await using out = await TemporaryFolder.create();
      return (await mergeIn(out, { tensors: modelOf("BF16") }, [ADAPTER], { device: { choice: "cpu", threads } }))
        .tensors;
    });
  } finally {
    if (named === undefined) delete process.env["RANDLORA_CPU_CODE"];
    else process.env["RANDLORA_CPU_CODE"] = named;
  }
});

/** What a model makes of a prompt. */
async function textOf(device: CpuDevice, model: string, prompt: readonly number[]): Promise<readonly number[]> {
  using decoder = await loadDecoder(device, model);
  using loop = new DecodeLoop(decoder, { rows: 1, positions: 512 });
  const sampling = { ...DEFAULT_SAMPLING, temperature: 1.5, seed: 5 };
  return (await decode(loop, { prompt, sampling, maxTokens: 30 })).tokens;
}

test("texts", async () => {
  const [{ ids }] = await expectedStories();
  await same(async (way) => {
    using device = await CpuDevice.open(way);
    return await textOf(device, STORIES, ids);
  });
});

const METHODS: readonly Partial<AskedSettings>[] = [
  { method: "lora", rank: 8 },
  { method: "randlora", rank: 8 },
  { method: "randlora", rank: 8, sparsity: "sparse" },
];

const settings = (asked: Partial<AskedSettings>) =>
  settingsFor({
    data,
    model: STORIES,
    steps: 20,
    saveEvery: 10,
    batchSize: 4,
    learningRate: 5e-3,
    ...(asked.method === "full" ? {} : { dropout: 0.1 }),
    ...asked,
  });

test.each(METHODS)("20 steps of training: %o", async (asked) => {
  const training = await settings(asked);
  let turn = 0;
  await same(async (way) => {
    using device = await CpuDevice.open(way);
    const run = folder.at(`${asked.method}-${asked.sparsity}-${turn++}`);
    await trainInto(run, training, undefined, undefined, device);
    return bytesOf(run);
  }, FEW_WAYS);
});

/** Layers that STORIES has not: sinks and experts, two sizes of heads and experts beside MLPs, the gated delta rule, convolutions. */
const LAYERS: Readonly<Record<string, object>> = {
  gpt_oss: { sliding_window: 8 },
  "gemma4_text-experts": { sliding_window: 8, layer_types: ["sliding_attention", "full_attention"] },
  qwen3_5_text: {},
  lfm2_moe: { num_experts: 6, num_dense_layers: 0, full_attn_idxs: [1] },
};

test.each(Object.entries(LAYERS))("a text and 20 steps of every weight: %s", async (type, own) => {
  const model = folder.at(type);
  await writeArchitecture(model, type, 2, { vocab_size: 512, hidden_size: 36, max_position_embeddings: 512, ...own });
  for (const file of ["tokenizer.json", "tokenizer_config.json"]) await cp(join(STORIES, file), join(model, file));
  const training = await settings({ model, method: "full", learningRate: 1e-3 });
  // More keys than attention has in a chunk.
  const prompt = Array.from({ length: 270 }, (_, at) => (at * at * 7 + at * 3 + 1) % 512);
  let turn = 0;
  await same(async (way) => {
    using device = await CpuDevice.open(way);
    const run = folder.at(`${type}-${turn++}`);
    await trainInto(run, training, undefined, undefined, device);
    return { text: await textOf(device, join(run, "model"), prompt), files: await bytesOf(run) };
  }, FEW_WAYS);
});

test("a run goes on with another code as with its own, and nothing is said of it", async () => {
  const training = await settings({ method: "randlora", rank: 8 });
  const trained = async (name: string, codes: readonly (CpuCode | undefined)[]) => {
    const run = folder.at(name);
    const warnings: string[] = [];
    for (const [index, code] of codes.entries()) {
      using device = await CpuDevice.open({ threads: 2, code });
      const [recording, stop] = [new Recording(), new AbortController()];
      recording.onStep = (step) => void (step === 7 && index < codes.length - 1 && stop.abort());
      await trainInto(run, training, recording, stop.signal, device);
      warnings.push(...recording.warnings);
    }
    return { files: await bytesOf(run), warnings };
  };
  const [one, other] = [CODES[0], CODES.at(-1)];
  expect(await trained("both", [one, other])).toEqual(await trained("alone", [other]));
});

test("in WebAssembly, too, a sequence's bits depend neither on its pieces nor on its neighbors", async () => {
  const folder = join(import.meta.dir, "../../models/decoder");
  const files = ["recurrent.test.ts", "cache/batch.test.ts"].map((name) => join(folder, name));
  const env = { RANDLORA_CPU_CODE: "wasm" };
  const { status, stderr } = await runToEnd([process.execPath, "test", "--timeout", "120000", ...files], { env });
  expect([status, stderr]).toEqual([0, expect.stringMatching(/\n [1-9]\d* pass\n 0 fail\n/)]);
});
