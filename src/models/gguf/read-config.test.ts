import { expect, test } from "bun:test";
import type { GgufTensor, GgufValue } from "../../files/gguf/format.ts";
import { GgufFile } from "../../files/gguf/reader.ts";
import { GgufWriter } from "../../files/gguf/writer.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { readGgufConfig } from "./read-config.ts";

const SIZES = {
  block_count: 3,
  context_length: 256,
  embedding_length: 64,
  feed_forward_length: 96,
  "attention.head_count": 4,
  "attention.layer_norm_rms_epsilon": 0.5,
};
const TABLE = { name: "token_embd.weight", type: "F32", shape: [2, 64] } as const;

/** The config.json of a file that says this beside the sizes. @param tensors with their values */
async function configOf(
  arch: string,
  more: Readonly<Record<string, GgufValue>>,
  tensors: readonly (readonly [GgufTensor, Float32Array])[] = [],
): Promise<Readonly<Record<string, unknown>>> {
  await using folder = await TemporaryFolder.create();
  const numbers = Object.entries(SIZES).map(([key, value]): [string, GgufValue] => [key, { kind: "f32", value }]);
  const metadata = new Map<string, GgufValue>([["general.architecture", { kind: "string", value: arch }]]);
  for (const [key, value] of [...numbers, ...Object.entries(more)]) metadata.set(`${arch}.${key}`, value);
  const all = [[TABLE, new Float32Array(2 * 64)] as const, ...tensors];
  const listed = all.map(([tensor]) => tensor);
  await using writer = await GgufWriter.create(folder.at("it.gguf"), metadata, listed);
  for (const [{ name }, { buffer }] of all) await writer.append(name, new Uint8Array(buffer));
  await writer.finish();
  await using file = await GgufFile.open(folder.at("it.gguf"));
  return await readGgufConfig(file);
}

const number = (value: number): GgufValue => ({ kind: "f32", value });
const list = (...value: number[]): GgufValue => ({ kind: "array", of: "i32", value });
const kinds = (...value: boolean[]): GgufValue => ({ kind: "array", of: "bool", value });
const KV_HEADS = "attention.head_count_kv";

test("heads of keys may be said of each layer, where all have as many: so is Granite 4 in llama.cpp's files", async () => {
  const granite = (heads: GgufValue) => configOf("granite", { [KV_HEADS]: heads });
  const wanted = { num_key_value_heads: 2, num_attention_heads: 4 };
  expect(await granite(number(2))).toMatchObject(wanted);
  expect(await granite(list(2, 2, 2))).toMatchObject(wanted);
  for (const value of [list(2, 2, 4), list()]) {
    const refusal = await refusalOf(() => granite(value));
    expect(refusal).toMatchObject({ code: "format", message: expect.stringContaining("head_count_kv") });
  }
});

test("gpt-oss's layers with a window may be listed", async () => {
  const gptOss = (pattern: GgufValue) =>
    configOf("gpt-oss", { "attention.sliding_window": number(8), "attention.sliding_window_pattern": pattern });
  const types = ["full_attention", "sliding_attention", "sliding_attention"];
  expect(await gptOss(kinds(false, true, true))).toMatchObject({ layer_types: types });
  expect(await gptOss(number(2))).not.toHaveProperty("layer_types");
  for (const [pattern, message] of [
    [kinds(true, false), /is of 2 layers/],
    [number(3), /all but each layer 3/],
  ] as const)
    expect((await refusalOf(() => gptOss(pattern))).message).toMatch(message);
});

/** What is said of three layers, of which the last sees all tokens. */
const GEMMA4 = {
  [KV_HEADS]: list(2, 2, 1),
  "attention.key_length": number(32),
  "attention.key_length_swa": number(16),
  "attention.sliding_window": number(8),
  "attention.sliding_window_pattern": kinds(true, true, false),
  embedding_length_per_layer_input: number(0),
  "rope.freq_base": number(5e5),
  "rope.freq_base_swa": number(1e4),
};
const factors = (...values: number[]) =>
  [[{ name: "rope_freqs.weight", type: "F32", shape: [values.length] }, Float32Array.from(values)]] as const;
const HALF = factors(...Array(8).fill(1), ...Array(8).fill(1e30));

test("Gemma 4's layers and ropes are what transformers calls them", async () => {
  const config = await configOf("gemma4", GEMMA4, HALF);
  expect(config).toMatchObject({
    model_type: "gemma4_text",
    layer_types: ["sliding_attention", "sliding_attention", "full_attention"],
    head_dim: 16,
    global_head_dim: 32,
    num_key_value_heads: 2,
    num_global_key_value_heads: 1,
    attention_k_eq_v: true,
    final_logit_softcapping: 30,
    rope_parameters: {
      full_attention: { rope_type: "proportional", partial_rotary_factor: 0.5, rope_theta: 5e5 },
      sliding_attention: { rope_type: "default", rope_theta: 1e4 },
    },
  });
  const shared = {
    "attention.shared_kv_layers": number(1),
    "attention.sliding_window_pattern": kinds(true, false, false),
    feed_forward_length: list(96, 96, 192),
    final_logit_softcapping: number(0),
    [KV_HEADS]: number(2),
  };
  expect(await configOf("gemma4", { ...GEMMA4, ...shared }, HALF)).toMatchObject({
    num_kv_shared_layers: 1,
    use_double_wide_mlp: true,
    final_logit_softcapping: null,
    intermediate_size: 96,
  });
  // The layer before the last one that has keys may see all tokens, too, where none that takes keys has a window.
  const types = { block_count: number(4), "attention.sliding_window_pattern": kinds(true, false, false, false) };
  const alike = await configOf("gemma4", { ...GEMMA4, ...shared, ...types, feed_forward_length: number(96) }, HALF);
  expect(alike).toMatchObject({ num_kv_shared_layers: 1, use_double_wide_mlp: false });
  const dense = await configOf(
    "gemma4",
    { ...GEMMA4, expert_count: number(0), final_logit_softcapping: number(0.1) },
    HALF,
  );
  expect(dense).toMatchObject({ final_logit_softcapping: 0.1 });
  expect(dense).not.toHaveProperty("enable_moe_block");
});

test.each<[string, Readonly<Record<string, GgufValue>>, RegExp, ReturnType<typeof factors>?]>([
  [
    "a window in the last layer",
    { "attention.sliding_window_pattern": kinds(true, false, true) },
    /layers of other kinds/,
  ],
  ["kinds of fewer layers", { "attention.sliding_window_pattern": kinds(true, false) }, /is of 2 layers, of which/],
  ["other heads in single layers", { [KV_HEADS]: list(1, 2, 1) }, /layers of other kinds or sizes/],
  ["neurons that are not whole", { feed_forward_length: number(0.5) }, /layers of other kinds or sizes/],
  ["more shared layers than layers", { "attention.shared_kv_layers": number(3) }, /layers of other kinds or sizes/],
  ["a negative number of them", { "attention.shared_kv_layers": number(-1) }, /layers of other kinds or sizes/],
  ["keys of a layer that has a window", { "attention.shared_kv_layers": number(1) }, /layers of other kinds or sizes/],
  ["no window", { "attention.sliding_window": number(0) }, /a sliding window of no tokens/],
  ["a scaled rope", { "rope.scaling.type": { kind: "string", value: "yarn" } }, /RoPE scaling yarn/],
  ["factors that grow", {}, /not Gemma 4's/, factors(...Array.from({ length: 16 }, (_, pair) => pair + 1))],
  ["factors of another head", {}, /not Gemma 4's/, factors(1, 1e30)],
  ["layers of several tokens in all", { nextn_predict_layers: number(3) }, /3 of 3 layers predict several tokens/],
  ["half a layer of several tokens", { nextn_predict_layers: number(0.5) }, /0.5 of 3 layers predict several tokens/],
])("a Gemma 4 with %s is refused in one line", async (_, more, message, ropes = HALF) => {
  const refusal = await refusalOf(() => configOf("gemma4", { ...GEMMA4, ...more }, ropes));
  expect(refusal.message).toMatch(message);
  expect(refusal.message).not.toContain("\n");
});
