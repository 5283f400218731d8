// GPT-2's learned positions: there is none beyond the last, whoever asks.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { writeArchitecture } from "../testing/architectures.ts";
import { Batch } from "./cache/batch.ts";
import type { Decoder } from "./decoder.ts";
import { loadDecoder } from "../folder/load-decoder.ts";
import { logitsAfter } from "../testing/logits.ts";

const POSITIONS = 32;

let gpu: Device;
let folder: TemporaryFolder;
let decoder: Decoder;
beforeAll(async () => {
  gpu = await openTestDevice();
  folder = await TemporaryFolder.create();
  await writeArchitecture(folder.path, "gpt2", 1, { n_positions: POSITIONS });
  decoder = await loadDecoder(gpu, folder.path);
});
afterAll(async () => {
  decoder.release();
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

const ids = (count: number) => Array.from({ length: count }, (_, at) => at % 20);
const refusal = { code: "model", message: expect.stringContaining(`more than ${POSITIONS} tokens`) };

test("a sequence takes as many tokens as there are positions, and one more is refused before anything is computed", async () => {
  using cache = decoder.createCache();
  await logitsAfter(decoder, ids(POSITIONS), cache);
  expect(logitsAfter(decoder, [1], cache)).rejects.toMatchObject(refusal);
  expect(cache.length).toBe(POSITIONS);
});

test("the same in a batch, whose other sequences are as before", async () => {
  using batch = new Batch(decoder, { rows: 2, positions: 1024 });
  const [long, short] = [batch.pool.acquire(), batch.pool.acquire()];
  await batch.pass([], { slot: long, ids: ids(POSITIONS - 1), sequenceLength: POSITIONS });
  await batch.pass([], { slot: short, ids: ids(3), sequenceLength: 4 });
  const next = { id: 5, top: 1, all: false, lse: false };
  await batch.pass([{ ...next, slot: long }]);
  const both = [long, short].map((slot) => ({ ...next, slot }));
  expect(batch.pass(both)).rejects.toMatchObject(refusal);
  expect(batch.pass([], { slot: long, ids: [1], sequenceLength: POSITIONS + 1 })).rejects.toMatchObject(refusal);
  expect([long.length, short.length]).toEqual([POSITIONS, 3]);
  await batch.pass([{ ...next, slot: short }]);
  expect(short.length).toBe(4);
});
