import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { STORIES } from "../../../../fixtures/stories/storyteller.ts";
import { writeLora } from "../../testing/lora.ts";
import { writeDora } from "../../testing/magnitudes.ts";
import { writeNola } from "../../testing/nola.ts";
import { writeVera } from "../../testing/vera.ts";
import type { Device } from "../../../compute/device/device.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { itemAt } from "../../../files/item-at.ts";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import type { AdapterLinears } from "../../../models/blocks/linears.ts";
import { BASE_ROWS } from "../../../models/blocks/row-linears.ts";
import { Batch } from "../../../models/decoder/cache/batch.ts";
import type { Decoder } from "../../../models/decoder/decoder.ts";
import { loadDecoder } from "../../../models/folder/load-decoder.ts";
import { mixturesOf, readBeside } from "../../../models/testing/mixed.ts";
import { writeAdapter } from "../testing/models.ts";
import { SharedParts } from "../../method/training.ts";
import { layer, MODULES } from "../testing/modules.ts";
import { placeUnmerged } from "./beside.ts";
import { AdaptedWeights } from "./weights.ts";

setDefaultTimeout(240_000);

/** Of dense bases, which no file names. */
const generatorOf = (path: string | undefined) => (path?.endsWith("dense") === true ? "torch-mt19937-f32" : undefined);

let gpu: Device;
let folder: TemporaryFolder;
let paths: readonly (string | undefined)[];
beforeAll(async () => {
  gpu = await openTestDevice();
  folder = await TemporaryFolder.create();
  const some = { r: 3, alpha: 6, seed: 3, modules: MODULES };
  const randlora = { ...some, alpha: 60, size: 0.1 };
  const { [layer(0, "self_attn.v_proj")]: _, ...fewer } = MODULES;
  paths = [
    await writeLora(folder.at("lora"), some),
    await writeAdapter(folder.at("randlora"), randlora),
    undefined,
    await writeDora(folder.at("dora"), some),
    await writeAdapter(folder.at("dense"), { ...randlora, seed: 4 }, { config: { sparse: false } }),
    await writeNola(folder.at("nola"), { ...some, key: 5n, initSeed: 1, bases: 12 }),
    await writeVera(folder.at("vera"), { r: 16, modules: MODULES }),
    // Over the bases of the second one.
    await writeAdapter(folder.at("twin"), { ...randlora, alpha: 45, size: 0.2, modules: fewer }),
  ];
}, 60_000);
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

/** Prompts of several lengths, and what follows on them. */
const tokensOf = (at: number) => Array.from({ length: 5 + 3 * at }, (_, i) => (37 * i + 11 * at) % 512);

/** Logits behind each text, which are decoded together from their last tokens on: some begin before others have ended. */
async function logitsOf(
  decoder: Decoder,
  texts: readonly { at: number; adapter: AdapterLinears | undefined }[],
  rows = 8,
) {
  using batch = new Batch(decoder, { rows, positions: rows * 256 });
  const begun = texts.map(({ at, adapter }) => {
    const slot = batch.pool.acquire(adapter);
    return { slot, ids: tokensOf(at) };
  });
  for (const { slot, ids } of begun) {
    // In pieces, whose sizes must not matter.
    await batch.pass([], { slot, ids: ids.slice(0, 2), sequenceLength: ids.length });
    await batch.pass([], { slot, ids: ids.slice(2, -2), sequenceLength: ids.length });
  }
  const wanted = { top: 1, all: true, lse: false };
  const found: Float32Array[][] = begun.map(() => []);
  for (const back of [2, 1]) {
    const tokens = begun.map(({ slot, ids }) => ({ slot, id: ids.at(-back) ?? 0, ...wanted }));
    for (const [at, { all }] of (await batch.pass(tokens)).next.entries()) found[at]?.push(all ?? new Float32Array());
  }
  return found;
}

test("each row of a batch has the bits that it has alone, whatever adapter it goes through, and the merged model's logits", async () => {
  using decoder = await loadDecoder(gpu, STORIES);
  using owner = new DisposableStack();
  const shared = new SharedParts(gpu);
  const texts: { at: number; adapter: AdapterLinears }[] = [];
  for (const [at, path] of paths.entries()) {
    if (path === undefined) texts.push({ at, adapter: BASE_ROWS });
    else {
      const placed = await placeUnmerged(decoder, STORIES, [{ path, scale: 1 }], {
        forRows: true,
        shared,
        generator: generatorOf(path),
      });
      texts.push({ at, adapter: owner.use(placed).over });
    }
  }
  const together = await logitsOf(decoder, texts);
  const turned = await logitsOf(decoder, texts.toReversed());
  expect(turned.toReversed()).toEqual(together);
  for (const text of texts) expect(await logitsOf(decoder, [text])).toEqual([itemAt(together, text.at)]);
  expect(await logitsOf(decoder, texts.slice(1, 3))).toEqual(together.slice(1, 3));
  // Batches of more rows than the rank form Ŝ of each adapter; VeRA's rank is more.
  const some = [1, 6, 7].map((at) => itemAt(texts, at));
  const inLarger = await logitsOf(decoder, some, 9);
  for (const [at, one] of some.entries()) {
    expect(await logitsOf(decoder, [one], 9)).toEqual([itemAt(inLarger, at)]);
  }

  // Pieces of a prompt beside them, through an adapter of which a row is decoded, too, through another, and through none.
  const written = [1, 7, 2, 3].map((at) => ({ ...itemAt(texts, at), ids: tokensOf(at) }));
  for (const [at, rows] of [0, 1, 2, 7].map((at) => [at, at === 7 ? 9 : 8] as const)) {
    const found: unknown[] = [];
    for (const mixture of mixturesOf(gpu)) {
      using batch = new Batch(decoder, { rows, positions: rows * 256 });
      found.push(await readBeside(batch, written, { ...itemAt(texts, at), ids: tokensOf(20) }, [12, 1, 30], mixture));
    }
    for (const one of found) expect(one).toEqual(found[0]);
  }

  await using adapted = await AdaptedWeights.open(decoder, STORIES);
  const base = itemAt(
    await logitsOf(
      decoder,
      texts.map(({ at }) => ({ at, adapter: undefined })),
    ),
    0,
  );
  expect(base).not.toEqual(itemAt(together, 0));
  for (const [at, path] of paths.entries()) {
    await adapted.apply(path === undefined ? [] : [{ path, scale: 1 }], { dtype: "f32", generator: generatorOf(path) });
    const [merged] = await logitsOf(decoder, [{ at, adapter: undefined }]);
    for (const [step, logits] of itemAt(together, at).entries()) {
      const wanted = itemAt(merged ?? [], step);
      const [largest, off] = [wanted, wanted.map((value, id) => value - (logits[id] ?? NaN))].map((values) =>
        Math.max(...values.map(Math.abs)),
      );
      expect((off ?? NaN) / (largest ?? NaN)).toBeLessThan(3e-5);
    }
  }
});

test.each([
  ["RandLoRA", 1],
  ["VeRA", 6],
])("prompts that are read together through %s in the model itself have the bits that each has alone", async (_, at) => {
  using decoder = await loadDecoder(gpu, STORIES);
  using placed = await placeUnmerged(decoder, STORIES, [{ path: itemAt(paths, at) ?? "", scale: 1 }]);
  decoder.linears = placed.linears;
  const read = async (passOf: <T>(pieces: readonly T[]) => readonly (readonly T[])[]) => {
    using batch = new Batch(decoder, { rows: 2, positions: 512 });
    expect(batch.mixes).toBe(false);
    const pieces = [2, 9].map(tokensOf).map((ids) => {
      return { slot: batch.pool.acquire(), ids, sequenceLength: ids.length, wantsHidden: true };
    });
    const found = [];
    for (const some of passOf(pieces)) found.push(...(await batch.pass([], ...some)).pieces);
    return found;
  };
  const alone = await read((pieces) => pieces.map((one) => [one]));
  expect(await read((pieces) => [pieces])).toEqual(alone);
});

test.each([
  ["RandLoRA", 1],
  ["VeRA", 6],
])("two %s adapters hold their bases once, and one that goes leaves the other as it is", async (_, at) => {
  using decoder = await loadDecoder(gpu, STORIES);
  const shared = new SharedParts(gpu);
  const choice = { path: itemAt(paths, at) ?? "", scale: 1 };
  const place = (scale = 1) => placeUnmerged(decoder, STORIES, [{ ...choice, scale }], { forRows: true, shared });
  const { memory } = gpu;
  const before = memory.liveBytes;
  const first = await place();
  const whole = memory.liveBytes - before;
  // Both at once: none may miss that the other places them.
  const [second, third] = await Promise.all([place(2), place(3)]);
  const own = (memory.liveBytes - before - whole) / 2;
  expect(own).toBeLessThan(whole / 2);
  const wanted = await logitsOf(decoder, [{ at, adapter: second.over }]);
  first[Symbol.dispose]();
  third[Symbol.dispose]();
  expect(memory.liveBytes - before).toBe(whole);
  expect(await logitsOf(decoder, [{ at, adapter: second.over }])).toEqual(wanted);
  second[Symbol.dispose]();
  expect(memory.liveBytes).toBe(before);
});
