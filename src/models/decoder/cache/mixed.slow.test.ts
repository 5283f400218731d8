// Pieces of prompts in one pass with each other, and with tokens of other texts where the device mixes them: each has the bits that it has alone.
import { afterAll, beforeAll, expect, setDefaultTimeout, spyOn, test } from "bun:test";
import type { Device } from "../../../compute/device/device.ts";
import type { KvDtype } from "../../../compute/device/dtype.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { RandloraError } from "../../../files/errors.ts";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import { writeArchitecture } from "../../testing/architectures.ts";
import { mixturesOf, readBeside } from "../../testing/mixed.ts";
import { loadDecoder } from "../../folder/load-decoder.ts";
import { Batch } from "./batch.ts";

setDefaultTimeout(120_000);

let device: Device;
let folder: TemporaryFolder;
beforeAll(async () => {
  device = await openTestDevice();
  folder = await TemporaryFolder.create();
});
afterAll(async () => {
  device.close();
  await folder[Symbol.asyncDispose]();
});

const tokens = (seed: number, count: number) =>
  Array.from({ length: count }, (_, at) => (at * at * 7 + at * 3 + seed) % 20);

test.each([
  ["llama", {}, "F16"],
  ["gemma3_text", { sliding_window: 40, layer_types: ["sliding_attention", "full_attention"] }, "F32"],
  ["mistral", { sliding_window: 300, head_dim: 32 }, "Q8_ROWS"],
  ["lfm2", { full_attn_idxs: [1], conv_L_cache: 4 }, "F16"],
  ["qwen3_5_text", { layer_types: ["linear_attention", "full_attention"] }, "F32"],
  ["mixtral", {}, "F32"],
] as const satisfies readonly (readonly [string, object, KvDtype])[])("%s", async (type, settings, kvDtype) => {
  await writeArchitecture(folder.at(type), type, 2, { ...settings, max_position_embeddings: 8192 });
  using decoder = await loadDecoder(device, folder.at(type), { kvDtype });
  const written = [700, 3, 255].map((count, seed) => ({ ids: tokens(seed, count) }));
  // Over where blocks end, and behind more than a window.
  const sizes = [12, 1, 230, 2, 64, 208, 24];
  const found: unknown[] = [];
  for (const mixture of mixturesOf(device)) {
    using batch = new Batch(decoder, { rows: 5, positions: 16_384 });
    expect(batch.mixes).toBe(device.mixesRows);
    found.push(await readBeside(batch, written, { ids: tokens(5, 560) }, sizes, mixture));
  }
  for (const one of found) expect(one).toEqual(found[0]);
});

test("a pass that there is no room for leaves nothing behind, wherever it ends", async () => {
  await writeArchitecture(folder.at("full"), "llama", 2);
  using decoder = await loadDecoder(device, folder.at("full"));
  using batch = new Batch(decoder, { rows: 2, positions: 1024 });
  const [text, slot] = [batch.pool.acquire(), batch.pool.acquire()];
  const ids = tokens(5, 30);
  const piece = { slot, ids, sequenceLength: 30, scoring: { next: ids, top: 2 }, wantsHidden: true };
  const beside = { slot: text, ids: [3], sequenceLength: 9 };
  const pass = async () => {
    if (batch.mixes) await batch.pass([{ slot: text, id: 3, top: 1, all: true, lse: true }], piece);
    else await batch.pass([], piece, beside);
    for (const one of [text, slot]) one.truncate(0);
  };
  await pass();
  const { memory } = device;
  const { liveBytes } = memory;
  const allocate = memory.allocate.bind(memory);
  let [buffers, isWhole] = [0, false];
  for (; !isWhole; buffers++) {
    let left = buffers;
    using _ = spyOn(memory, "allocate").mockImplementation((label, ...rest) => {
      if (left-- === 0) throw new RandloraError("memory", `${label}: there is no room`);
      return allocate(label, ...rest);
    });
    isWhole = await pass().then(
      () => true,
      () => false,
    );
    expect([memory.liveBytes, text.length, slot.length]).toEqual([liveBytes, 0, 0]);
  }
  expect(buffers).toBeGreaterThan(20);
});
