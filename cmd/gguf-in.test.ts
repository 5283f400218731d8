import { beforeAll, expect, test } from "bun:test";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { writeLora } from "../src/adapters/testing/lora.ts";
import { GgufFile } from "../src/files/gguf/reader.ts";
import { SafetensorsFile } from "../src/files/safetensors/file.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { unpackBlocks } from "../src/models/read-weights.ts";
import { randlora } from "./testing/program.ts";

// A GGUF file in the place of MODEL: the one inside the program, a small Llama with tied embeddings, in bf16.

const MODEL = join(import.meta.dir, "../fixtures/embedded/model");
const Q = "model.layers.1.self_attn.q_proj";
const LORA = { r: 4, alpha: 64, seed: 3, modules: { [Q]: [128, 128] } } as const;

interface Budget {
  readonly model_bytes: number;
  readonly model_parameters: number;
  readonly methods: { readonly lora: { readonly parameters: number; readonly memory_bytes: number } };
}

const folder = await TemporaryFolder.forTests();
beforeAll(async () => {
  await cp(MODEL, folder.at("model"), { recursive: true });
  await writeLora(folder.at("lora"), LORA);
  await Bun.write(
    folder.at("chats.jsonl"),
    '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ahoy matey!"}]}\n'.repeat(4),
  );
  await succeed("convert", "model", "--to", "gguf", "--out", "keep.gguf");
  await succeed("convert", "model", "--to", "gguf", "--out", "q8.gguf", "--outtype", "q8_0");
  await succeed("convert", "lora", "--to", "json", "--out", "lora.json");
});

/** What a command prints that does what it should. */
async function succeed(...args: readonly string[]): Promise<string> {
  const { stdout, stderr, status } = await randlora(args, { cwd: folder.path });
  expect({ status, stderr: status === 0 ? "" : stderr }).toEqual({ status: 0, stderr: "" });
  return stdout;
}

const chat = (model: string, ...more: readonly string[]) =>
  succeed("chat", model, "-p", "Who lives on the island?", "--temperature", "0", ...more);

test("it says, measures and cuts what its folder does", async () => {
  const spoken = await chat("model", "--max-tokens", "24");
  expect(spoken.length).toBeGreaterThan(20);
  expect(await chat("keep.gguf", "--max-tokens", "24")).toBe(spoken);
  expect(await chat("q8.gguf", "--max-tokens", "24")).toBe(spoken);
  const tokens = (model: string) => succeed("tokenize", model, "-p", "héllo  <|im_end|>wörld", "--json");
  expect(await tokens("keep.gguf")).toBe(await tokens("model"));
  await Bun.write(folder.at("text.txt"), "Once upon a time there was a dog.");
  const perplexity = async (model: string) => {
    const json = await succeed("eval", "perplexity", model, "--file", "text.txt", "--json");
    return JSON.parse(json) as { base: unknown; quantized?: { format: string } };
  };
  expect((await perplexity("keep.gguf")).base).toEqual((await perplexity("model")).base);
  expect((await perplexity("q8.gguf")).quantized?.format).toBe("Q8_0");
  const inspected = JSON.parse(await succeed("inspect", "q8.gguf", "--json")) as { dtypes: object; model_type: string };
  expect(Object.keys(inspected.dtypes).toSorted()).toEqual(["F16", "F32", "Q8_0"]);
  const budget = async (model: string) => {
    const json = JSON.parse(await succeed("budget", model, "--params", "100K", "--json")) as Budget;
    const { model_bytes: bytes, model_parameters: parameters, methods } = json;
    const { parameters: trained, memory_bytes: memory } = methods.lora;
    return { parameters, trained, bytes, onTop: memory - bytes };
  };
  const { bytes, ...rest } = await budget("model");
  const { bytes: inBlocks, ...same } = await budget("q8.gguf");
  expect(same).toEqual(rest);
  await using file = await GgufFile.open(folder.at("q8.gguf"));
  const tensors = [...file.header.tensors.values()];
  expect(inBlocks).toBe(tensors.reduce((sum, tensor) => sum + tensor.bytes, 0));
  expect(inBlocks).toBeLessThan(0.65 * bytes);
});

test("an adapter that was made for the folder merges into it, to GGUF as the folder does", async () => {
  const merge = ["--out"];
  await succeed("merge", "keep.gguf", "lora.json", ...merge, "of-file.gguf");
  await succeed("merge", "model", "lora", ...merge, "of-folder.gguf");
  await using file = await GgufFile.open(folder.at("of-file.gguf"));
  await using own = await GgufFile.open(folder.at("of-folder.gguf"));
  expect(file.header.tensors.size).toBe(own.header.tensors.size);
  for (const [name, tensor] of own.header.tensors) {
    const found = file.header.tensors.get(name);
    if (found === undefined) throw new Error(name);
    expect({ ...found, offset: 0 }).toEqual({ ...tensor, offset: 0 });
    const [bytes, wanted] = [new Uint8Array(found.bytes), new Uint8Array(tensor.bytes)];
    await file.read(found, bytes);
    await own.read(tensor, wanted);
    expect(bytes).toEqual(wanted);
  }
  await succeed("merge", "keep.gguf", "lora", ...merge, "merged", "--verify");
  await succeed("merge", "model", "lora", ...merge, "of-model", "--verify");
  expect(await chat("merged", "--max-tokens", "8")).toBe(await chat("of-model", "--max-tokens", "8"));
});

test("blocks: what is not merged stays as it is, the rest is rounded to them and the error told, in a folder it is F32", async () => {
  const merge = ["merge", "q8.gguf", "lora", "--out"];
  const json = JSON.parse(await succeed(...merge, "q8-merged.gguf", "--json")) as Record<string, number>;
  await succeed(...merge, "q8-merged", "--verify");
  await using base = await GgufFile.open(folder.at("q8.gguf"));
  await using merged = await GgufFile.open(folder.at("q8-merged.gguf"));
  await using numbers = await SafetensorsFile.open(folder.at("q8-merged", "model.safetensors"));
  expect(numbers.header.metadata.get("format")).toBe("pt");
  const bytesOf = async (file: GgufFile, name: string) => {
    const tensor = file.header.tensors.get(name);
    if (tensor === undefined) throw new Error(name);
    const bytes = new Uint8Array(tensor.bytes);
    await file.read(tensor, bytes);
    return { type: tensor.type, bytes };
  };
  for (const name of base.header.tensors.keys()) {
    const [before, after] = [await bytesOf(base, name), await bytesOf(merged, name)];
    expect(after.type).toBe(before.type);
    expect([name, Bun.deepEquals(after.bytes, before.bytes)]).toEqual([name, name !== "blk.1.attn_q.weight"]);
  }
  // v has no heads that changed places: rows are those of the folder.
  const rounded = unpackBlocks((await bytesOf(merged, "blk.1.attn_v.weight")).bytes, "Q8_0");
  const exact = new Float32Array((await numbers.readAll(numbers.get("model.layers.1.self_attn.v_proj.weight"))).buffer);
  expect(rounded).toEqual(exact);
  const { blocks_error: error = NaN, frobenius_delta: delta = NaN } = json;
  expect(error).toBeGreaterThan(0);
  expect(error).toBeLessThan(delta / 10);
});
