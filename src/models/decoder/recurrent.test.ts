// What holds of models with the gated delta rule beyond their logits (architectures/golden.test.ts): a sequence has the same bits however it
// is cut and whoever is beside it, can be cut where a block ends, and texts that are packed know nothing of each other.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { writeArchitecture } from "../testing/architectures.ts";
import { packedAndAlone } from "../testing/packed.ts";
import { Batch } from "./cache/batch.ts";
import { kvBytes, rowsKept } from "./cache/layer-cache.ts";
import type { Slot } from "./cache/slot.ts";
import { loadConfig } from "./architectures/index.ts";
import { loadDecoder } from "../folder/load-decoder.ts";
import { logitsAfter } from "../testing/logits.ts";

setDefaultTimeout(120_000);

/** Keys of 4 and values of 8 elements, in 2 and 4 heads, over 4 positions. */
const SETTINGS = {
  layer_types: ["linear_attention", "full_attention", "linear_attention"],
  linear_num_key_heads: 2,
  linear_num_value_heads: 4,
  linear_key_head_dim: 4,
  linear_value_head_dim: 8,
  max_position_embeddings: 8192,
};

let gpu: Device;
let folder: TemporaryFolder;
beforeAll(async () => {
  gpu = await openTestDevice();
  folder = await TemporaryFolder.create();
  await writeArchitecture(folder.at("model"), "qwen3_5_text", 3, SETTINGS);
});
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

const tokens = (seed: number, count: number) =>
  Array.from({ length: count }, (_, at) => (at * at * 7 + at * 3 + seed) % 20);

test("a sequence is the same bits in pieces, beside others, in a copy, and from where a block ends", async () => {
  using decoder = await loadDecoder(gpu, folder.at("model"));
  using batch = new Batch(decoder, { rows: 4, positions: 16_384 });
  const long = tokens(1, 1900);
  const prefill = async (slot: Slot, ids: readonly number[]) => {
    for (let at = slot.length; at < ids.length; at += 500)
      await batch.pass([], { slot, ids: ids.slice(at, at + 500), sequenceLength: ids.length });
  };
  const begin = async (ids: readonly number[], ...cuts: readonly number[]): Promise<Slot> => {
    const slot = batch.pool.acquire();
    for (const cut of cuts) await prefill(slot, ids.slice(0, cut));
    await prefill(slot, ids);
    return slot;
  };
  const step = async (slot: Slot, id: number, ...others: readonly Slot[]) => {
    const all = [slot, ...others].map((one, at) => ({ slot: one, id: (id + at) % 20, top: 5, all: true, lse: true }));
    return (await batch.pass(all)).next[0];
  };
  const prompt = long.slice(0, 310);
  const [whole, other] = [await begin(prompt), await begin(tokens(2, 11))];
  const pieces = await begin(prompt, 1, 2, 4, 255, 256, 300);
  // As it is, and cut where its first block ends: in the middle of one there is no state.
  expect([whole.kept(310), whole.kept(309), whole.kept(256), whole.kept(255)]).toEqual([310, 256, 256, 0]);
  await batch.pool.copy([{ from: whole, to: other, length: 256 }]);
  await prefill(other, prompt);
  const wanted = [await step(whole, 3), await step(whole, 8)];
  expect([await step(pieces, 3, other), await step(pieces, 8)]).toEqual(wanted);
  other.truncate(310);
  expect(other.length).toBe(256);
  await prefill(other, prompt);
  expect([await step(other, 3, pieces), await step(other, 8)]).toEqual(wanted);
  // Two change places, one of which is shorter, and the pool moves what it holds when one grows.
  const short = await begin(tokens(2, 5));
  const of = await step(short, 1);
  short.truncate(0);
  await prefill(short, tokens(2, 5));
  await batch.pool.copy([
    { from: short, to: whole, length: 5 },
    { from: whole, to: short, length: 312 },
  ]);
  expect(await step(whole, 1)).toEqual(of);
  expect(await step(short, 5)).toEqual(await step(other, 5, pieces));
  // A long one gives up blocks at its beginning, and goes on.
  const far = await begin(long);
  expect(far.places.map(({ first }) => first > 0)).toContain(true);
  const after = await step(far, 3);
  const logits = await logitsAfter(decoder, [...long, 3]);
  const largest = logits.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0);
  logits.forEach((logit, id) => expect(Math.abs(logit - (after?.all?.[id] ?? NaN))).toBeLessThan(1e-5 * largest));
});

test("texts that are packed one after another are those alone", async () => {
  using decoder = await loadDecoder(gpu, folder.at("model"));
  const texts = [tokens(1, 9), tokens(2, 1), tokens(3, 2), tokens(4, 17)];
  const { packed, alone } = await packedAndAlone(gpu, decoder, texts);
  expect(packed.length).toBe(alone.length);
  packed.forEach((value, at) => expect(Math.abs(value - (alone[at] ?? NaN))).toBeLessThan(1e-5));
});

test("memory is counted by what each layer keeps", async () => {
  const config = await loadConfig(folder.at("model"));
  // Keys and values of 2 heads of 8 at every position; of each block of two layers 4 states of 4 · 8, and 3 inputs of 48 numbers.
  const [rows, state] = [rowsKept(4, 4096), 4 * (4 * 4 * 8 + 3 * 48)];
  expect(rows).toBeLessThan(4096);
  expect(kvBytes(config, 4096, "F32", 1)).toBe(4096 * 128 + (2 * state * Math.min(4096, 2 * rows)) / 256);
});

test.each([
  [{ layer_types: ["linear_attention", "linear_attention", "linear_attention"] }, "a model without attention"],
  [{ layer_types: ["linear_attention", "full_attention", "mamba"] }, 'layers of type "mamba" are not supported'],
  [{ linear_conv_kernel_dim: 100_000 }, "convolutions over 100000 positions are not supported"],
  [{ linear_num_value_heads: 3 }, "3 heads of a delta rule cannot share 2 heads of keys"],
  [{ linear_key_head_dim: 512 }, "keys of 512 and values of 8 elements"],
  [{ linear_num_value_heads: 2 ** 20 }, "heads of delta rules; at most 131072 in all layers are supported"],
])("%j is refused", async (settings, message) => {
  const place = folder.at(String(Bun.hash(JSON.stringify(settings))));
  const refusal = await refusalOf(() => writeArchitecture(place, "qwen3_5_text", 3, { ...SETTINGS, ...settings }));
  expect(refusal).toMatchObject({ code: "model", message: expect.stringContaining(message) });
  expect(refusal.hint).not.toBe("");
});
