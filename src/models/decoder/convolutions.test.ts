// What holds of models with convolutions beyond their logits (architectures/golden.test.ts): what is kept of a sequence can be cut,
// copied and gone on with at any position, and texts that are packed know nothing of each other.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import type { KvDtype } from "../../compute/device/dtype.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { writeArchitecture } from "../testing/architectures.ts";
import { packedAndAlone } from "../testing/packed.ts";
import { loadConfig } from "./architectures/index.ts";
import { Batch } from "./cache/batch.ts";
import { kvBytes } from "./cache/layer-cache.ts";
import type { Slot } from "./cache/slot.ts";
import { loadDecoder } from "../folder/load-decoder.ts";
import { logitsAfter } from "../testing/logits.ts";

setDefaultTimeout(120_000);

const SETTINGS = { full_attn_idxs: [1], conv_bias: true, conv_L_cache: 4 };

let gpu: Device;
let folder: TemporaryFolder;
beforeAll(async () => {
  gpu = await openTestDevice();
  folder = await TemporaryFolder.create();
  await writeArchitecture(folder.at("lfm2"), "lfm2", 3, SETTINGS);
});
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

const tokens = (seed: number, count: number) => Array.from({ length: count }, (_, at) => (at * 7 + seed * 5) % 20);

test.each(["F32", "F16"] satisfies KvDtype[])(
  "a sequence is the same bits in pieces, beside others, in a copy, and from any position on: keys in %s",
  async (kvDtype) => {
    using decoder = await loadDecoder(gpu, folder.at("lfm2"), { kvDtype });
    using batch = new Batch(decoder, { rows: 4, positions: 4096 });
    const ids = tokens(1, 30);
    const begin = async (seed: number, ...pieces: readonly number[]): Promise<Slot> => {
      const slot = batch.pool.acquire();
      let first = 0;
      for (const count of pieces)
        await batch.pass([], { slot, ids: tokens(seed, 30).slice(first, (first += count)), sequenceLength: 40 });
      return slot;
    };
    const step = async (slot: Slot, id: number, ...others: readonly Slot[]) => {
      const all = [slot, ...others].map((one, at) => ({ slot: one, id: (id + at) % 20, top: 5, all: true, lse: true }));
      return (await batch.pass(all)).next[0];
    };
    const whole = await begin(1, 30);
    const wanted = [await step(whole, 3), await step(whole, 8)];
    const [pieces, other] = [await begin(1, 1, 1, 2, 20, 6), await begin(2, 11)];
    expect([await step(pieces, 3, other), await step(pieces, 8, other)]).toEqual(wanted);
    // A prefix of another's, in its place: what was there is as if it had never been.
    await batch.pool.copy([{ from: whole, to: other, length: 17 }]);
    await batch.pass([], { slot: other, ids: ids.slice(17), sequenceLength: 40 });
    pieces.truncate(2);
    await batch.pass([], { slot: pieces, ids: ids.slice(2), sequenceLength: 40 });
    expect([await step(other, 3, pieces), await step(other, 8)]).toEqual(wanted);
    pieces.truncate(30);
    expect([await step(pieces, 3), await step(pieces, 8)]).toEqual(wanted);
    // The pool moves what it holds when one grows.
    await batch.pool.reserve(other, 290);
    const [longer, alone] = [await step(other, 5), await step(whole, 5)];
    expect(longer).toEqual(alone);
    // And a pass over all of it, in a cache of its own.
    const logits = await logitsAfter(decoder, [...ids, 3, 8]);
    const largest = logits.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0);
    const close = kvDtype === "F32" ? 1e-5 : 2e-3;
    logits.forEach((logit, id) =>
      expect(Math.abs(logit - (wanted[1]?.all?.[id] ?? NaN))).toBeLessThan(close * largest),
    );
  },
);

test("texts that are packed one after another are those alone", async () => {
  using decoder = await loadDecoder(gpu, folder.at("lfm2"));
  const texts = [tokens(1, 9), tokens(2, 1), tokens(3, 2), tokens(4, 7)];
  const { packed, alone } = await packedAndAlone(gpu, decoder, texts);
  expect(packed.length).toBe(alone.length);
  const largest = Math.max(...alone.map(Math.abs));
  packed.forEach((value, at) => expect(Math.abs(value - (alone[at] ?? NaN))).toBeLessThan(1e-4 * largest));
});

test("memory is counted by what each layer keeps", async () => {
  const config = await loadConfig(folder.at("lfm2"));
  // Keys and values of 2 heads of 8 in one layer, 32 columns in two.
  expect([kvBytes(config, 10, "F32", 1), kvBytes(config, 10, "F16", 1)]).toEqual([10 * (128 + 256), 10 * (64 + 256)]);
});

test.each([
  [{ full_attn_idxs: [] }, "a model without attention is not supported"],
  [{ layer_types: ["conv", "full_attention", "mamba"] }, 'layers of type "mamba" are not supported'],
  [{ conv_L_cache: 100_000 }, "convolutions over 100000 positions are not supported"],
  [{ block_ffn_dim_multiplier: 1e300 }, "cannot be"],
  [{ hidden_size: 30, head_dim: 8 }, "convolutions of 30 columns; a multiple of 4 is supported"],
])("%j is refused", async (settings, message) => {
  const place = folder.at(String(Bun.hash(JSON.stringify(settings))));
  const refusal = await refusalOf(() => writeArchitecture(place, "lfm2", 3, { ...SETTINGS, ...settings }));
  expect(refusal).toMatchObject({ code: "model", message: expect.stringContaining(message) });
});
