import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { RandloraError } from "../../../files/errors.ts";
import type { GgufTensor } from "../../../files/gguf/format.ts";
import { GgufFile } from "../../../files/gguf/reader.ts";
import { encodeGgufHeader, GgufWriter } from "../../../files/gguf/writer.ts";
import { shownMessage } from "../../../files/shown-paths.ts";
import { refusalOf, type TemporaryFolder } from "../../../files/testing/folder.ts";
import { openCheckpoint } from "../../../models/folder/open-checkpoint.ts";
import { GEMMA, TEXT } from "./testing/models.ts";
import { Workplace } from "./testing/workplace.ts";

let place: Workplace;
let folder: TemporaryFolder;
beforeAll(async () => {
  place = await Workplace.open();
  ({ folder } = place);
  await place.model("llama", "llama", 2, { vocab_size: 544, max_position_embeddings: 256, eos_token_id: 2 });
});
afterAll(() => place[Symbol.asyncDispose]());

/** The same file with other metadata and tensors. */
async function changed(
  change: (file: GgufFile) => Partial<Pick<GgufFile["header"], "metadata" | "tensors">>,
): Promise<string> {
  const base = await place.written(folder.at("llama"), "base.gguf", "f16");
  await using file = await GgufFile.open(base);
  const { metadata, tensors } = { ...file.header, ...change(file) };
  const header = encodeGgufHeader(metadata, [...tensors.values()]);
  const out = folder.at("changed.gguf");
  await Bun.write(out, [header, new Uint8Array(file.size)]);
  return out;
}
const without = <T>(map: ReadonlyMap<string, T>, key: string) => new Map([...map].filter(([name]) => name !== key));
const withText = (file: GgufFile, key: string, value: string) => ({
  metadata: new Map([...file.header.metadata, [key, { kind: "string", value }] as const]),
});
const withNumber = (file: GgufFile, key: string, value: number) => ({
  metadata: new Map([...file.header.metadata, [key, { kind: "u32", value }] as const]),
});

test.each<[string, Parameters<typeof changed>[0], RegExp]>([
  ["another architecture", (file) => withText(file, "general.architecture", "mamba"), /architecture "mamba" cannot/],
  ["an adapter", (file) => withText(file, "general.type", "adapter"), /an adapter, not a model/],
  ["a part of a split file", (file) => withNumber(file, "split.count", 3), /one part of a split model/],
  ["an unknown pre-tokenizer", (file) => withText(file, "tokenizer.ggml.pre", "viking"), /pre-tokenizer "viking"/],
  ["another tokenizer", (file) => withText(file, "tokenizer.ggml.model", "bert"), /a tokenizer of kind "bert"/],
  ["a setting of another type", (file) => withText(file, "llama.block_count", "2"), /"llama.block_count" is not a num/],
  ["fewer layers", (file) => withNumber(file, "llama.block_count", 1), /"blk.1.\S+" has no place in a llama model/],
  ["countless layers", (file) => withNumber(file, "llama.block_count", 4e9), /"llama.block_count": .*10000/],
  [
    "layers of several tokens alone",
    (file) => withNumber(file, "llama.nextn_predict_layers", 2),
    /2 of 2 layers predict/,
  ],
  ["other heads", (file) => withNumber(file, "llama.attention.head_count", 8), /by the metadata it is/],
  ["no heads", (file) => withNumber(file, "llama.attention.head_count", 0), /"llama.attention.head_count": /],
  ["heads that share none", (file) => withNumber(file, "llama.attention.head_count_kv", 3), /4 attention heads cannot/],
  [
    "no norm's epsilon",
    ({ header }) => ({ metadata: without(header.metadata, "llama.attention.layer_norm_rms_epsilon") }),
    /layer_norm_rms_epsilon" is missing/,
  ],
  [
    "no tokens",
    ({ header }) => ({ metadata: without(header.metadata, "tokenizer.ggml.tokens") }),
    /tokens" is missing/,
  ],
  [
    "a missing tensor",
    ({ header }) => ({ tensors: without(header.tensors, "blk.0.attn_q.weight") }),
    /tensor "blk.0.attn_q.weight" is missing/,
  ],
])("a file with %s is refused in one line", async (_, change, message) => {
  const path = await changed(change);
  const refusal = await refusalOf(async () => await (await openCheckpoint(path)).close());
  expect(refusal.message).toMatch(message);
  expect(refusal.message).not.toContain("\n");
  // Its settings are a file of the cache by now, which nobody has written.
  if (refusal.message.includes("config.json")) expect(shownMessage(refusal.message)).not.toContain("config.json");
});

test("gate and up of Gemma 4's experts may be tensors of their own, as llama.cpp reads them, too", async () => {
  const settings = { ...TEXT, ...GEMMA, enable_moe_block: true, num_experts: 8, top_k_experts: 2 };
  await place.model("gemma4", "gemma4_text-experts", 6, settings, "gemma");
  const written = await place.written(folder.at("gemma4"), "gemma4.gguf", "f32");
  await using file = await GgufFile.open(written);
  const { metadata, tensors } = file.header;
  const parts: [GgufTensor, Uint8Array][] = [];
  for (const tensor of tensors.values()) {
    const bytes = new Uint8Array(tensor.bytes);
    await file.read(tensor, bytes);
    const [count = 0, both = 0, hidden = 0] = tensor.shape;
    const half = (both / 2) * hidden * 4;
    const of = (name: string, at: number): void => {
      const rows = Array.from({ length: count }, (_, expert) => {
        const begin = (2 * expert + at) * half;
        return bytes.subarray(begin, begin + half);
      });
      const shape = [count, both / 2, hidden];
      parts.push([{ ...tensor, name: tensor.name.replace("gate_up", name), shape }, Buffer.concat(rows)]);
    };
    if (tensor.name.includes("ffn_gate_up_exps")) ["gate", "up"].forEach(of);
    else parts.push([tensor, bytes]);
  }
  const apart = folder.at("apart.gguf");
  const named = parts.map(([tensor]) => tensor);
  await using writer = await GgufWriter.create(apart, metadata, named);
  for (const [{ name }, bytes] of parts) await writer.append(name, bytes);
  await writer.finish();
  expect(named.map(({ name }) => name)).toContain("blk.0.ffn_up_exps.weight");
  expect(await place.logits(apart)).toEqual(await place.logits(written));
});

test("layers behind the model's own, which predict several tokens at once, are left aside", async () => {
  const path = await changed((file) => withNumber(file, "llama.nextn_predict_layers", 1));
  await using checkpoint = await openCheckpoint(path);
  const layers = [...checkpoint.tensors.keys()].map((name) => /layers\.(\d+)/.exec(name)?.[1]);
  expect(new Set(layers)).toEqual(new Set(["0", undefined]));
});

test("a file with bytes changed anywhere is read or refused, without a fault of the program", async () => {
  const path = await place.written(folder.at("llama"), "base.gguf", "q8_0");
  const whole = await Bun.file(path).bytes();
  // The vocabulary is most of the header: its ends are where the rest is.
  await using file = await GgufFile.open(path);
  const first = Math.min(...[...file.header.tensors.values()].map(({ offset }) => offset));
  const at = fc.oneof(fc.nat(1200), fc.integer({ min: first - 1600, max: first - 1 }), fc.nat(first - 1));
  const change = fc.record({ at, byte: fc.nat(255) });
  const other = folder.at("mutated.gguf");
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      const bytes = whole.slice();
      for (const one of changes) bytes[one.at] = one.byte;
      await Bun.write(other, bytes);
      try {
        await (await openCheckpoint(other)).close();
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(RandloraError);
        expect(String(thrown)).not.toContain("\n");
      }
    }),
    { numRuns: 100 },
  );
}, 60_000);
