import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { DecodeLoop } from "../../chat/generation/decode-loop.ts";
import { decode } from "../../chat/testing/decoder.ts";
import type { Decoder } from "./decoder.ts";
import { loadDecoder } from "../folder/load-decoder.ts";
import { writeModel } from "../testing/models.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { logitsAfter } from "../testing/logits.ts";

/** Tokens up to which the short factors hold. */
const TRAINED = 16;
/** Phi 3 in small; the two sets of factors are far apart, so that keys of the wrong one show. */
const CONFIG = {
  model_type: "phi3",
  vocab_size: 50,
  hidden_size: 32,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  max_position_embeddings: 64,
  original_max_position_embeddings: TRAINED,
  rope_scaling: {
    type: "longrope",
    short_factor: [1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7],
    long_factor: [1, 2, 3, 4, 6, 8, 12, 16],
  },
};
const SHAPES = Object.fromEntries([
  ["model.embed_tokens.weight", [50, 32]],
  ["model.norm.weight", [32]],
  ["lm_head.weight", [50, 32]],
  ...[0, 1].flatMap((layer): [string, number[]][] =>
    Object.entries({
      "input_layernorm.weight": [32],
      "post_attention_layernorm.weight": [32],
      "self_attn.qkv_proj.weight": [96, 32],
      "self_attn.o_proj.weight": [32, 32],
      "mlp.gate_up_proj.weight": [48, 32],
      "mlp.down_proj.weight": [32, 24],
    }).map(([name, shape]) => [`model.layers.${layer}.${name}`, shape]),
  ),
]);
/** A text of 40 tokens. */
const IDS = Array.from({ length: 40 }, (_, at) => (at * 7 + 3) % 50);

let gpu: Device;
let longrope: Decoder;
let dynamic: Decoder;
beforeAll(async () => {
  gpu = await openTestDevice();
  const load = async (config: object) => {
    await using folder = await TemporaryFolder.create();
    await writeModel(folder.path, config, SHAPES, (at) => 0.5 * Math.sin(at * at * 0.37));
    return await loadDecoder(gpu, folder.path);
  };
  longrope = await load(CONFIG);
  const rope = { type: "dynamic", factor: 4 };
  dynamic = await load({ ...CONFIG, max_position_embeddings: TRAINED, rope_scaling: rope });
}, 120_000);
afterAll(() => gpu.close());

/** The logits of a sequence that is computed in one, with nothing before it. */
async function alone(decoder: Decoder, length: number): Promise<Float32Array> {
  return await logitsAfter(decoder, IDS.slice(0, length));
}

/** How much of a beginning of the text a loop had computed before. */
async function cached(loop: DecodeLoop, length: number): Promise<number> {
  return (await decode(loop, { prompt: IDS.slice(0, length), maxTokens: 1 })).cached;
}

function difference(one: Float32Array, other: Float32Array): number {
  const largest = other.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return one.reduce((most, value, at) => Math.max(most, Math.abs(value - (other[at] ?? NaN))), 0) / largest;
}

describe("LongRoPE", () => {
  test("a token at a time is the whole at once, on both sides of the trained length", async () => {
    using cache = longrope.createCache();
    await logitsAfter(longrope, IDS.slice(0, TRAINED - 4), cache);
    for (let length = TRAINED - 3; length <= TRAINED + 8; length++) {
      const found = await logitsAfter(longrope, IDS.slice(length - 1, length), cache);
      expect(cache.slot.ids).toEqual(IDS.slice(0, length));
      expect(difference(found, await alone(longrope, length))).toBeLessThan(1e-4);
    }
  });

  test("the two sides differ, and a cache that is cut back goes back", async () => {
    using cache = longrope.createCache();
    await logitsAfter(longrope, IDS.slice(0, TRAINED + 8), cache);
    cache.slot.truncate(4);
    const found = await logitsAfter(longrope, IDS.slice(4, TRAINED), cache);
    expect(difference(found, await alone(longrope, TRAINED))).toBeLessThan(1e-4);
    const short = await logitsAfter(longrope, IDS.slice(0, TRAINED));
    using second = longrope.createCache();
    const long = await logitsAfter(longrope, IDS.slice(0, TRAINED), second, { sequenceLength: TRAINED + 1 });
    expect(difference(long, short)).toBeGreaterThan(1e-2);
  });

  test("likelihoods across the border are those of the whole", async () => {
    using whole = longrope.createCache();
    const wanted = await longrope.nll(whole, IDS);
    using cache = longrope.createCache();
    await logitsAfter(longrope, IDS.slice(0, 10), cache);
    const found = await longrope.nll(cache, IDS.slice(10));
    expect(found.length).toBe(IDS.length - 11);
    found.forEach((value, at) => expect(Math.abs(value - (wanted[10 + at] ?? NaN))).toBeLessThan(1e-4));
  });

  test("what is kept of a beginning counts on its own side of the border", async () => {
    using loop = new DecodeLoop(longrope, { rows: 1, positions: 512, keepsAnswers: true });
    expect(await cached(loop, TRAINED + 4)).toBe(0);
    expect(await cached(loop, TRAINED + 8)).toBe(TRAINED + 4);
    // A second turn that is shorter than the first.
    expect(await cached(loop, 12)).toBe(0);
    expect(await cached(loop, TRAINED)).toBe(12);
    expect(await cached(loop, TRAINED + 1)).toBe(0);
  });
});

test("dynamic RoPE keeps the keys of shorter sequences while it writes, but for no other sequence", async () => {
  using cache = dynamic.createCache();
  await logitsAfter(dynamic, IDS.slice(0, TRAINED), cache);
  const found = await logitsAfter(dynamic, IDS.slice(TRAINED, TRAINED + 1), cache);
  // Its keys were turned for 16 tokens; transformers has it so, too.
  expect(difference(found, await alone(dynamic, TRAINED + 1))).toBeGreaterThan(1e-3);
  using loop = new DecodeLoop(dynamic, { rows: 1, positions: 512, keepsAnswers: true });
  const counts: number[] = [];
  for (const length of [TRAINED, TRAINED, TRAINED + 4]) counts.push(await cached(loop, length));
  expect(counts).toEqual([0, TRAINED - 1, 0]);
});
