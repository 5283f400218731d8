// Layers with a window, and convolutions, keep the last positions alone: what comes of it is what comes of all positions. On the CPU
// device alone: kernels do not know of it.
import { afterAll, beforeAll, expect, setDefaultTimeout, spyOn, test } from "bun:test";
import { decode } from "../../../chat/testing/decoder.ts";
import { DecodeLoop } from "../../../chat/generation/decode-loop.ts";
import { CpuDevice } from "../../../compute/cpu/cpu.ts";
import type { Device } from "../../../compute/device/device.ts";
import { RandloraError } from "../../../files/errors.ts";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import { writeArchitecture } from "../../testing/architectures.ts";
import type { DecoderConfig, PlannedLayer } from "../config.ts";
import { loadDecoder } from "../../folder/load-decoder.ts";
import { Batch } from "./batch.ts";
import type { BatchDecoder } from "./batch-pass.ts";
import { kvBytes, rowsKept, windowOf } from "./layer-cache.ts";
import type { Slot } from "./slot.ts";

setDefaultTimeout(120_000);

/** Layers that see all and layers that see 40; all see 300; convolutions over 3, and one layer that sees all; states. */
const MODELS = {
  gemma3_text: { sliding_window: 40, layer_types: ["sliding_attention", "full_attention"] },
  mistral: { sliding_window: 300, head_dim: 32 },
  lfm2: { full_attn_idxs: [1], conv_L_cache: 3 },
  qwen3_5_text: {},
  // The last two attend with keys of the first two; each reads inputs of its own.
  gemma4_text: {
    num_hidden_layers: 4,
    num_kv_shared_layers: 2,
    sliding_window: 40,
    layer_types: ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
    rms_norm_eps: 0.3,
    hidden_size_per_layer_input: 8,
    vocab_size_per_layer_input: 20,
  },
};
const CONTEXT = { max_position_embeddings: 8192 };

let gpu: Device;
let folder: TemporaryFolder;
beforeAll(async () => {
  gpu = await CpuDevice.open({ threads: 1 });
  folder = await TemporaryFolder.create();
  for (const [type, settings] of Object.entries(MODELS)) {
    await writeArchitecture(folder.at(type), type, 2, { ...settings, ...CONTEXT });
  }
});
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

const tokens = (seed: number, count: number) =>
  Array.from({ length: count }, (_, at) => (at * at * 7 + at * 3 + seed) % 20);

/** The same layers for a pool that is to keep all positions. */
function withoutWindows(config: DecoderConfig): DecoderConfig {
  const seeing = (layer: PlannedLayer): PlannedLayer =>
    layer.map((block) => {
      const { mixer } = block;
      if (mixer.kind === "attention") return { ...block, mixer: { ...mixer, window: Infinity } };
      if (mixer.kind !== "convolution") return block;
      const weight = { ...mixer.weight, cols: Infinity };
      return { ...block, mixer: { ...mixer, weight } };
    });
  return { ...config, layers: config.layers.map(seeing) };
}

test.each([
  // So many tokens one by one go beyond a block of positions.
  ["gemma3_text", "F32", 320],
  ["mistral", "Q8_ROWS", 30],
  ["lfm2", "F16", 30],
  ["gemma4_text", "F32", 30],
] as const)(
  "%s, keys in %s: logits are the same bits as with all positions, in pieces, in copies, beside others and from a prefix",
  async (type, dtype, single) => {
    using decoder = await loadDecoder(gpu, folder.at(type), { kvDtype: dtype });
    const { config, weights, kvDtype, linears } = decoder;
    const found = async (of: BatchDecoder) => {
      using batch = new Batch(of, { rows: 4, positions: 16_384 });
      const { pool } = batch;
      const read = async (slot: Slot, ids: readonly number[], ...pieces: readonly number[]) => {
        for (let at = 0, number = 0; at < ids.length; number++) {
          const piece = ids.slice(at, at + (pieces[number % pieces.length] ?? 512));
          await batch.pass([], { slot, ids: piece, sequenceLength: 3600 });
          at += piece.length;
        }
      };
      const all: unknown[] = [];
      const step = async (slots: readonly Slot[], times: number) => {
        for (let time = 0; time < times; time++) {
          const wanted = slots.map((slot, at) => ({ slot, id: (time * 3 + at) % 20, top: 3, all: true, lse: true }));
          const rows = (await batch.pass(wanted)).next;
          if (time % 50 === 0 || time > times - 3) all.push(rows);
        }
      };
      const [long, short, third] = [pool.acquire(), pool.acquire(), pool.acquire()];
      await read(long, tokens(1, 2300), 512);
      await read(short, tokens(2, 5));
      await step([long, short], 3);
      await pool.copy([{ from: long, to: third, length: 2200 }]);
      await read(third, tokens(3, 500), 100, 512, 7);
      await step([short, third, long], single);
      // Both at once, and from the end of the prompt again.
      await pool.copy([
        { from: third, to: long, length: third.length },
        { from: long, to: third, length: long.length },
      ]);
      third.truncate(2300);
      await read(third, tokens(4, 300), 300);
      await step([third, long], 30);
      const places = long.places.map(({ first }) => first);
      return {
        all,
        places,
        bytes: pool.bytes,
        back: [0, 100, long.length].map((length) => long.kept(length) === length),
      };
    };
    const narrow = await found(decoder);
    const wide = await found({ gpu, config: withoutWindows(config), weights, kvDtype, linears });
    expect(wide.places).toEqual([0]);
    expect(wide.back).toEqual([true, true, true]);
    expect(Math.max(...narrow.places)).toBeGreaterThan(1000);
    expect(narrow.back).toEqual([true, false, true]);
    expect(narrow.bytes).toBeLessThan(0.9 * wide.bytes);
    expect(narrow.all.length).toBeGreaterThan(8);
    expect(narrow.all).toEqual(wide.all);
  },
);

test.each([
  ["gemma3_text", 100, 2499, 1500],
  // From the state before the end of the prompt, which stays while a thousand tokens follow.
  ["qwen3_5_text", 1000, 2304, 1500],
] as const)(
  "%s: a text is the one that it is alone, whether its beginning was kept or has to be computed again",
  async (type, short, kept, long) => {
    using decoder = await loadDecoder(gpu, folder.at(type));
    const write = async (loop: DecodeLoop, prompt: readonly number[], maxTokens: number) =>
      await decode(loop, { prompt, maxTokens, context: 8192 });
    const [prompt, next] = [tokens(1, 2500), [...tokens(1, 2500), ...tokens(5, 40)]];
    const options = { rows: 2, positions: 16_384 };
    using alone = new DecodeLoop(decoder, options);
    const wanted = await write(alone, next, 30);
    for (const [answer, cached] of [
      [short, kept],
      [long, 0],
    ] as const) {
      using loop = new DecodeLoop(decoder, options);
      await write(loop, prompt, answer);
      const found = await write(loop, next, 30);
      expect(found.cached).toBe(cached);
      expect(found.tokens).toEqual(wanted.tokens);
    }
  },
);

test("what positions take is counted as the pool takes it, under --memory as well", async () => {
  using decoder = await loadDecoder(gpu, folder.at("gemma3_text"));
  const { config } = decoder;
  expect(config.layers.map(windowOf)).toEqual([40, Infinity]);
  // Keys and values of 2 heads of 8.
  const kept = rowsKept(40, Infinity);
  expect(kept).toBe(1536);
  expect(kvBytes(config, 8192, "F32", 1)).toBe(2 * 4 * 16 * (8192 + 2 * kept));
  using device = await CpuDevice.open({ threads: 1, memory: 2 ** 27 });
  using limited = await loadDecoder(device, folder.at("gemma3_text"), { kvDtype: "F16" });
  for (const rows of [1, 3]) {
    using batch = new Batch(limited, { rows, positions: 16_384 });
    const slots = Array.from({ length: rows }, () => batch.pool.acquire());
    for (const slot of slots) await batch.pool.reserve(slot, 300);
    expect(batch.pool.bytes).toBe(kvBytes(config, 16_384, "F16", rows));
  }
});

test("a text that has room for its prompt, and never for a token, ends: states are computed again from their beginning", async () => {
  using decoder = await loadDecoder(gpu, folder.at("qwen3_5_text"));
  const { pass } = Batch.prototype;
  let steps = 0;
  using spied = spyOn(Batch.prototype, "pass").mockImplementation(async function (this: Batch, ...args) {
    if (args[0].length === 0) return await pass.apply(this, args);
    steps += 1;
    using _ = spyOn(gpu.memory, "allocate").mockImplementation((label) => {
      throw new RandloraError("memory", `${label}: there is no room`);
    });
    return await pass.apply(this, args);
  });
  using loop = new DecodeLoop(decoder, { rows: 2, positions: 4096 });
  await expect(decode(loop, { prompt: tokens(1, 300), context: 8192 })).rejects.toMatchObject({ code: "memory" });
  expect([steps, spied.mock.calls.length > 2]).toEqual([2, true]);
});
