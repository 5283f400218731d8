import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { STORIES } from "../../../../fixtures/stories/storyteller.ts";
import { isBlockDtype } from "../../../compute/device/dtype.ts";
import { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import { transpose } from "../../../files/safetensors/transpose.ts";
import { roundFromF32, widenToF32 } from "../../../files/safetensors/numbers.ts";
import type { TemporaryFolder } from "../../../files/testing/folder.ts";
import { loadConfig } from "../../../models/decoder/architectures/index.ts";
import type { Decoder } from "../../../models/decoder/decoder.ts";
import { loadDecoder } from "../../../models/folder/load-decoder.ts";
import { locateModel } from "../../../models/folder/locate.ts";
import { openCheckpoint } from "../../../models/folder/open-checkpoint.ts";
import { packBlocks, unpackBlocks } from "../../../models/read-weights.ts";
import { TableInFile } from "../../../models/table-in-file.ts";
import { tableInFile } from "../../../models/tensor-plan.ts";
import { Notes, OPTIONS } from "../testing/merge.ts";
import { merge } from "../to-files/run.ts";
import { loraDelta, writeLora } from "../../testing/lora.ts";
import { EXACT, FAMILIES, GEMMA, LAYERS, MODELS, READ_AS, TEXT } from "./testing/models.ts";
import { valuesOf, Workplace } from "./testing/workplace.ts";
import { logitsAfter } from "../../../models/testing/logits.ts";

let place: Workplace;
let folder: TemporaryFolder;
beforeAll(async () => {
  place = await Workplace.open();
  ({ folder } = place);
  for (const [name, type, settings] of MODELS) {
    await place.model(name, type, LAYERS[name] ?? 2, { ...TEXT, ...settings }, FAMILIES[type]);
  }
});
afterAll(() => place[Symbol.asyncDispose]());

/** GPT-2's linear layers, and gpt-oss's experts. */
const TRANSPOSED = /\.c_(?:attn|proj|fc)\.weight$|\.experts\.\d+\.(?:gate_up|down)_proj\.weight$/;

/** What numbers are rounded to does not depend on the model: one of each way in which matrices lie in files. */
const ROUNDED = [
  "mixtral",
  "gpt_oss",
  "qwen2_moe",
  "lfm2_moe",
  "qwen3_5_text",
  "gemma3_text",
  "keys that layers share",
];
const OUTTYPES = [
  ...["llama", "gpt2"].flatMap((name) =>
    (["f16", "bf16", "q8_0", "q4_0"] as const).map((type) => [name, type] as const),
  ),
  ...ROUNDED.map((name) => [name, "q8_0"] as const),
];

test.each(MODELS)("%s has the settings of its folder, and its logits", async (name) => {
  const file = await place.written(folder.at(name), `${name}.gguf`, "f32");
  const { folder: settings, weights } = await locateModel(file);
  expect(weights).toBe(file);
  const [config, wanted] = [await loadConfig(settings), await loadConfig(folder.at(name))];
  expect(config).toEqual({ ...wanted, architecture: READ_AS[name] ?? wanted.architecture });
  const [logits, same] = [await place.logits(file), await place.logits(folder.at(name))];
  expect(logits.some((value) => value !== 0)).toBe(true);
  // A file has exp(x) of what a checkpoint has as x.
  if (config.layers.flat().every(({ mixer }) => mixer.kind !== "gated-delta")) expect(logits).toEqual(same);
  else logits.forEach((value, at) => expect(value).toBeCloseTo(same[at] ?? NaN, 5));
});

test.each(OUTTYPES)("%s has its tensors, rounded once to %s", async (name, outtype) => {
  const path = await place.written(folder.at(name), "x.gguf", outtype);
  await using checkpoint = await openCheckpoint(path);
  await using own = await openCheckpoint(folder.at(name));
  expect([...checkpoint.tensors.keys()].toSorted()).toEqual([...own.tensors.keys()].toSorted());
  const type = ({ f16: "F16", bf16: "BF16", q8_0: "Q8_0", q4_0: "Q4_0" } as const)[outtype];
  for (const [tensor, { info }] of checkpoint.tensors) {
    const [values, wanted] = [await valuesOf(checkpoint, tensor), await valuesOf(own, tensor)];
    if (info.shape.length === 1) {
      // Norms were stored with a 1 more, others as exp(x).
      values.forEach((value, at) => expect(Math.abs(value - (wanted[at] ?? NaN))).toBeLessThan(2e-7));
    } else if (EXACT.test(tensor)) {
      expect([info.dtype, values]).toEqual(["F32", wanted]);
    } else if (isBlockDtype(type)) {
      // Blocks are of the file's rows, also where a checkpoint stores columns.
      const [rows = 0, cols = 0] = info.shape.slice(-2);
      const isTurned = ["gpt2", "gpt_oss"].includes(name) && TRANSPOSED.test(tensor);
      const ofFile = (some: Float32Array<ArrayBuffer>) =>
        isTurned ? new Float32Array(transpose(new Uint8Array(some.buffer), rows, cols, 4).buffer) : some;
      const packed = packBlocks(ofFile(wanted), type);
      const blocks = new Uint8Array(packed.length);
      await checkpoint.readBlocks(tensor, blocks);
      expect([info.blocks?.dtype, info.dtype]).toEqual([type, "F32"]);
      expect(blocks).toEqual(packed);
      expect(ofFile(values)).toEqual(unpackBlocks(packed, type));
    } else {
      const rounded = new Uint8Array(info.bytes);
      roundFromF32(wanted, type, rounded);
      widenToF32(rounded, type, wanted);
      expect([info.dtype, values]).toEqual([type, wanted]);
    }
  }
});

test("matrices whose rows are no whole blocks are said to be F16", async () => {
  const notes = new Notes();
  const options = { ...OPTIONS, verify: false, adapters: [], base: STORIES, outtype: "q8_0" as const };
  await merge({ ...options, out: place.folder.at("odd.gguf") }, notes, new AbortController().signal);
  expect(notes.warnings).toContain("5 of 36 matrices are written as F16: their rows are no whole blocks of 32");
});

test("a Gemma 4 whose tokenizer puts nothing before a text is warned of: llama.cpp puts bos there", async () => {
  await place.model("bare", "gemma4_text", 6, { ...TEXT, ...GEMMA }, "gemma");
  const options = { ...OPTIONS, verify: false, adapters: [], base: folder.at("bare"), outtype: "f32" as const };
  const warned = async (out: string) => {
    const notes = new Notes();
    await merge({ ...options, out: folder.at(out) }, notes, new AbortController().signal);
    return notes.warnings.some((line) => line.startsWith("llama.cpp puts bos before each text"));
  };
  expect(await warned("with-bos.gguf")).toBe(false);
  await Bun.write(folder.at("bare", "tokenizer_config.json"), JSON.stringify({ add_bos_token: false }));
  expect(await warned("bare.gguf")).toBe(true);
});

test("of a model with images the file has the text, which is read as a model of its own", async () => {
  await place.model("gemma3", "gemma3", 6, { ...TEXT, text_config: GEMMA }, "gemma");
  const file = await place.written(folder.at("gemma3"), "gemma3.gguf", "f32");
  expect((await loadConfig((await locateModel(file)).folder)).architecture).toBe("gemma3_text");
  expect(await place.logits(file)).toEqual(await place.logits(folder.at("gemma3")));
});

test.each([
  ["llama", "self_attn.q_proj.weight"],
  ["llama", "self_attn.v_proj.weight"],
  ["mixtral", "block_sparse_moe.experts.3.w3.weight"],
  ["granitemoe", "block_sparse_moe.experts.3.up_proj.weight"],
  ["gpt_oss", "mlp.experts.2.gate_up_proj.weight"],
  ["gpt_oss", "mlp.experts.gate_up_proj_bias"],
  ["qwen3_5_text", "linear_attn.in_proj_qkv.weight"],
  ["qwen3_5_text", "linear_attn.out_proj.weight"],
])(
  "any range of a tensor of %s is that of the whole, of heads in another order, of experts and of blocks, too: %s",
  async (model, below) => {
    const path = await place.written(folder.at(model), "x.gguf", "q8_0");
    await using checkpoint = await openCheckpoint(path);
    const name = `model.layers.${model === "qwen3_5_text" ? 0 : 1}.${below}`;
    const { info } = checkpoint.get(name);
    const [whole, blocks] = [new Uint8Array(info.bytes), new Uint8Array(info.blocks?.bytes ?? 0)];
    await checkpoint.read(name, whole);
    if (info.blocks !== undefined) await checkpoint.readBlocks(name, blocks);
    const range = fc.tuple(fc.nat(info.bytes), fc.nat(info.bytes), fc.boolean());
    await fc.assert(
      fc.asyncProperty(range, async ([a, b, raw]) => {
        const all = raw && blocks.length > 0 ? blocks : whole;
        const [start, end] = [a % all.length, b % all.length].toSorted((one, other) => one - other);
        const out = new Uint8Array((end ?? 0) - (start ?? 0));
        await (all === blocks ? checkpoint.readBlocks(name, out, start) : checkpoint.read(name, out, start));
        expect(out).toEqual(all.slice(start, end));
      }),
      { numRuns: 60 },
    );
  },
);

test.each([
  ["mixtral", "w3"],
  ["granitemoe", "up_proj"],
])("an adapter of one expert of %s changes its rows of the tensor of all, and nothing else", async (type, matrix) => {
  const module = `model.layers.1.block_sparse_moe.experts.3.${matrix}`;
  const lora = { r: 2, alpha: 4, seed: 3, modules: { [module]: [64, 32] } } as const;
  const adapters = [await writeLora(folder.at("expert"), lora)];
  const path = await place.written(folder.at(type), "merged.gguf", "f32", adapters);
  await using merged = await openCheckpoint(path);
  await using base = await openCheckpoint(folder.at(type));
  const delta = loraDelta(lora, module);
  for (const name of base.tensors.keys()) {
    const [values, before] = [await valuesOf(merged, name), await valuesOf(base, name)];
    if (name !== `${module}.weight`) expect([name, values]).toEqual([name, before]);
    else values.forEach((value, at) => expect(value).toBeCloseTo((before[at] ?? NaN) + (delta[at] ?? NaN), 5));
  }
  // The same of a file, as a folder: of Granite's with a tensor of all experts.
  const file = await place.written(folder.at(type), "base.gguf", "f32");
  const options = { ...OPTIONS, verify: false, base: file, adapters, out: folder.at(`${type}-folder`) };
  const { out } = await merge(options, new Notes(), new AbortController().signal);
  await using asFolder = await Checkpoint.open(out);
  await using own = await Checkpoint.open(folder.at(type));
  expect([...asFolder.tensors.keys()].toSorted()).toEqual([...own.tensors.keys()].toSorted());
  await using parted = await openCheckpoint(out);
  for (const name of base.tensors.keys()) expect(await valuesOf(parted, name)).toEqual(await valuesOf(merged, name));
});

test("rows of a table that stays in the file are read out of its blocks", async () => {
  const path = await place.written(folder.at("keys that layers share"), "x.gguf", "q8_0");
  await using checkpoint = await openCheckpoint(path);
  const name = "model.embed_tokens_per_layer.weight";
  const { shape, blocks } = checkpoint.get(name).info;
  const [rows = 0, cols = 0] = shape;
  const table = new TableInFile(checkpoint, tableInFile(cols, [name, shape]));
  await table.open();
  const values = await valuesOf(checkpoint, name);
  expect([blocks?.dtype, table.bytes]).toEqual(["Q8_0", (rows * cols * 34) / 32]);
  expect(table.rows([rows - 1, 0], 1)).toEqual(
    Float32Array.from([...values.subarray(-cols), ...values.subarray(0, cols)]),
  );
  table.close();
});

test("blocks stay what they are in memory, embedding and output matrix, too; --dtype takes them out", async () => {
  const path = await place.written(folder.at("llama"), "x.gguf", "q4_0");
  const { folder: settings, weights } = await locateModel(path);
  using kept = await loadDecoder(place.gpu, settings, { weights });
  const formats = (decoder: Decoder) => new Set([...decoder.weights.tensors.values()].map(({ dtype }) => dtype));
  expect(formats(kept)).toEqual(new Set(["Q4_0", "F32"]));
  expect([kept.weights.embedding.dtype, kept.weights.head.dtype]).toEqual(["Q4_0", "Q4_0"]);
  expect(kept.weights.quantized).toMatchObject({ dtype: "Q4_0" });
  using wide = await loadDecoder(place.gpu, settings, { weights, dtype: "F32" });
  expect(formats(wide)).toEqual(new Set(["F32"]));
  const logits = async (decoder: Decoder) => {
    return await logitsAfter(decoder, [5, 6, 7]);
  };
  const [blocks, numbers] = [await logits(kept), await logits(wide)];
  const largest = Math.max(...numbers.map(Math.abs));
  blocks.forEach((value, at) => expect(Math.abs(value - (numbers[at] ?? NaN))).toBeLessThan(3e-3 * largest));
});
