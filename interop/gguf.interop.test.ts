import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import type { Device } from "../src/compute/device/device.ts";
import { openTestDevice } from "../src/compute/device/testing/open.ts";
import { ARCHITECTURES } from "../src/models/decoder/architectures/index.ts";
import type { Decoder } from "../src/models/decoder/decoder.ts";
import { loadDecoder } from "../src/models/folder/load-decoder.ts";
import { locateModel } from "../src/models/folder/locate.ts";
import { judge } from "./judge.ts";
import { type Answer, askLlama } from "./llama.ts";
import { EMBEDDED_MODEL, smollm2 } from "./models.ts";
import { merge, randlora } from "./program.ts";
import { passed, SMOLLM2 } from "./verified.ts";
import { bestOf, logitsAfter } from "../src/models/testing/logits.ts";

// GGUF files: bytes as Python's gguf writes them, tokens as llama.cpp decodes them.

const python = await judge();
const folder = await mkdtemp(join(tmpdir(), "randlora-gguf-"));
const NAMES = await python.request(v.array(v.string()), "gguf_models", { out: join(folder, "models") });
/** All types of weights of Llama's; of others those that are stored, and blocks. */
const outtypesOf = (name: string) =>
  name === "llama" ? ["keep", "f32", "f16", "bf16", "q8_0", "q4_0"] : ["keep", "q8_0"];
const Settings = v.object({ model_type: v.string() });
const PROMPT = "hello world, it's 1234 aab";
/** Tokens that are compared, and how far a token may be from the best: llama.cpp keeps keys and values in f16. */
const TOKENS = 24;
const NEAR = 0.05;
/** What it multiplies with blocks it rounds to 8 bits. */
const NEAR_IN_BLOCKS = 1;

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(async () => {
  gpu.close();
  await rm(folder, { recursive: true });
});

/** Blocks of models with rows in their own order, in several tensors or turned: other models' are read the same way. */
const BLOCKS: Readonly<Record<string, readonly string[]>> = {
  llama: ["q4_0"],
  gpt2: ["q8_0"],
  mixtral: ["q8_0"],
  granite4: ["q8_0"],
  qwen3_next: ["q8_0"],
  qwen3_5_text: ["q8_0"],
  gpt_oss: ["q8_0"],
  gemma4: ["q8_0"],
};
/** Models whose files have numbers that a folder has otherwise: exp(x) of x, a factor of YaRN as two that make it. */
const ROUNDED = /^qwen3_(?:next|5)|^mistral3-growing$/;

const modelOf = (name: string) => join(folder, "models", name);
/** Not named after the model: llama.cpp looks for the tokens of Phi 3 in whatever is called so. */
const fileOf = (name: string, outtype = "keep") => join(folder, `${NAMES.indexOf(name)}-${outtype}.gguf`);

async function convert(model: string, out: string, ...more: readonly string[]): Promise<string> {
  await randlora(["convert", model, "--to", "gguf", "--out", out, "--force", ...more]);
  return out;
}

test("every architecture that GGUF has is tried", async () => {
  const ofModels = NAMES.map(async (name) =>
    v.parse(Settings, await Bun.file(join(modelOf(name), "config.json")).json()),
  );
  const tried = (await Promise.all(ofModels)).map(({ model_type }) => model_type);
  expect([...new Set(tried)].toSorted()).toEqual(
    ARCHITECTURES.flatMap(({ type, gguf }) => (gguf ? [type] : [])).toSorted(),
  );
});

test.each(NAMES)(
  "%s has the tensors, types and metadata that gguf writes",
  async (name) => {
    for (const outtype of outtypesOf(name)) {
      const file = await convert(modelOf(name), fileOf(name, outtype), "--outtype", outtype);
      const params = { file, base: modelOf(name), outtype };
      expect([outtype, await python.request(v.array(v.string()), "gguf_differences", params)]).toEqual([outtype, []]);
    }
    await passed(modelOf(name), ["gguf"]);
  },
  600_000,
);

/** What llama.cpp chose must be the best of our logits, or as good as. @param model a folder, or a GGUF file */
async function expectGreedy(model: string, answer: Answer | undefined, near = NEAR): Promise<void> {
  if (answer === undefined || "error" in answer) throw new Error(answer?.error ?? "no answer");
  const ours = JSON.parse(await randlora(["tokenize", model, "-p", PROMPT, "--json"])) as { ids: number[] };
  expect(answer.ids).toEqual(ours.ids);
  using decoder = await load(model);
  using cache = decoder.createCache();
  let last = answer.ids;
  for (const [step, token] of answer.tokens.entries()) {
    const { ids, logits } = bestOf(await logitsAfter(decoder, last, cache), 8);
    const at = ids.indexOf(token);
    expect([step, at >= 0]).toEqual([step, true]);
    expect((logits[0] ?? NaN) - (logits[at] ?? NaN)).toBeLessThan(near);
    last = [token];
  }
}

async function load(model: string): Promise<Decoder> {
  const { folder: settings, weights } = await locateModel(model);
  return await loadDecoder(gpu, settings, { weights });
}

test.each(NAMES)(
  "%s as gguf writes it has its folder's tokens and logits; blocks those of our file",
  async (name) => {
    const tokens = async (model: string) => await randlora(["tokenize", model, "-p", PROMPT, "--json"]);
    const logits = async (model: string) => {
      using decoder = await load(model);
      using cache = decoder.createCache();
      const { ids } = JSON.parse(await tokens(model)) as { ids: number[] };
      return await logitsAfter(decoder, ids, cache);
    };
    for (const outtype of ["keep", ...(BLOCKS[name] ?? [])]) {
      const own =
        outtype === "keep" ? modelOf(name) : await convert(modelOf(name), fileOf(name, outtype), "--outtype", outtype);
      const params = { ours: await convert(modelOf(name), fileOf(name)), base: modelOf(name), outtype };
      const out = join(folder, `python-${NAMES.indexOf(name)}-${outtype}.gguf`);
      await python.request(v.null(), "gguf_write", { ...params, out });
      expect(await tokens(out)).toBe(await tokens(own));
      const [found, wanted] = [await logits(out), await logits(own)];
      if (ROUNDED.test(name)) found.forEach((one, at) => expect(one).toBeCloseTo(wanted[at] ?? NaN, 4));
      else expect([outtype, found]).toEqual([outtype, wanted]);
    }
  },
  600_000,
);

test("llama.cpp decodes every architecture's tokens", async () => {
  for (const name of NAMES) await convert(modelOf(name), fileOf(name));
  const questions = NAMES.map((name) => ({ model: fileOf(name), adapter: null, prompt: PROMPT, count: TOKENS }));
  const answers = await askLlama(questions);
  for (const [index, name] of NAMES.entries()) {
    const near = name.endsWith("mxfp4") ? NEAR_IN_BLOCKS : NEAR;
    await expectGreedy(modelOf(name), answers[index], near);
    await expectGreedy(fileOf(name), answers[index], near);
    await passed(modelOf(name), ["llama.cpp"]);
  }
}, 600_000);

test("a LoRA as llama.cpp's adapter, and merged into the file, writes what our merged folder does", async () => {
  const lora = join(folder, "lora-run");
  const data = join(folder, "train.jsonl");
  await Bun.write(
    data,
    Array.from({ length: 8 }, (_, i) => `{"text": "hello world number ${i}, it's fine"}`).join("\n"),
  );
  const train = ["--method", "lora", "--steps", "4", "--learning-rate", "0.01", "--batch-size", "2"];
  await randlora(["finetune", EMBEDDED_MODEL, "--data", data, "--out", lora, ...train]);
  const merged = join(folder, "merged");
  await merge([EMBEDDED_MODEL, join(lora, "adapter"), "--out", merged, "--dtype", "f32"]);
  const file = join(folder, "merged.gguf");
  await merge([EMBEDDED_MODEL, join(lora, "adapter"), "--out", file, "--outtype", "f32"]);
  const base = await convert(EMBEDDED_MODEL, join(folder, "base.gguf"), "--outtype", "f32");
  const adapter = await convert(join(lora, "adapter"), join(folder, "adapter.gguf"), "--base", EMBEDDED_MODEL);
  const ask = { prompt: PROMPT, count: TOKENS };
  const [plain, whole, beside] = await askLlama([
    { model: base, adapter: null, ...ask },
    { model: file, adapter: null, ...ask },
    { model: base, adapter, ...ask },
  ]);
  await expectGreedy(EMBEDDED_MODEL, plain);
  await expectGreedy(merged, whole);
  await expectGreedy(merged, beside);
  expect(whole).not.toEqual(plain);
}, 600_000);

test("LoRAs, among them of modules whose rows or columns a file has elsewhere, write what our merged folders do", async () => {
  const data = join(folder, "texts.jsonl");
  await Bun.write(data, Array.from({ length: 4 }, (_, i) => `{"text": "hello world number ${i}"}`).join("\n"));
  const train = ["--data", data, "--method", "lora", "--steps", "2", "--learning-rate", "0.02"];
  const adapted = [
    ["granite4", "all-linear"],
    ["qwen3_5_text", "all-linear"],
    ["qwen3_next", "q_proj,k_proj,in_proj_qkvz,in_proj_ba,out_proj"],
    ["gpt_oss", "all-linear"],
    ["gemma4", "q_proj,k_proj,o_proj,up_proj,down_proj,per_layer_input_gate,per_layer_projection"],
  ] as const;
  const merged = (name: string) => join(folder, `merged-${name}`);
  const questions = [];
  for (const [name, targets] of adapted) {
    const [base, run] = [modelOf(name), join(folder, `run-${name}`)];
    await randlora(["finetune", base, "--out", run, "--targets", targets, ...train]);
    await merge([base, join(run, "adapter"), "--out", merged(name), "--dtype", "f32"]);
    const adapter = await convert(join(run, "adapter"), `${run}.gguf`, "--base", base);
    const model = await convert(base, fileOf(name, "f32"), "--outtype", "f32");
    questions.push({ model, adapter, prompt: PROMPT, count: TOKENS });
  }
  const answers = await askLlama(questions);
  for (const [at, [name]] of adapted.entries()) await expectGreedy(merged(name), answers[at]);
}, 600_000);

test("the 135M chat model, in bf16 and in blocks", async () => {
  const model = await smollm2();
  const files = await Promise.all(
    ["keep", "q8_0"].map((outtype) => convert(model, join(folder, `135m-${outtype}.gguf`), "--outtype", outtype)),
  );
  const answers = await askLlama(files.map((file) => ({ model: file, adapter: null, prompt: PROMPT, count: TOKENS })));
  await expectGreedy(model, answers[0], 0.2);
  // The folder's weights are not in blocks; the file's are.
  await expectGreedy(model, answers[1], 1);
  for (const [index, file] of files.entries()) await expectGreedy(file, answers[index], 0.2);
  await passed(model, ["llama.cpp"], SMOLLM2);
}, 600_000);
