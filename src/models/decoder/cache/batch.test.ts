import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { STORIES } from "../../../../fixtures/stories/storyteller.ts";
import type { Device } from "../../../compute/device/device.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { Batch } from "./batch.ts";
import type { BatchLogits } from "./batch-pass.ts";
import type { Decoder } from "../decoder.ts";
import { loadDecoder } from "../../folder/load-decoder.ts";
import type { Slot } from "./slot.ts";
import { logitsAfter } from "../../testing/logits.ts";

setDefaultTimeout(120_000);

let gpu: Device;
let decoder: Decoder;
beforeAll(async () => {
  gpu = await openTestDevice();
  decoder = await loadDecoder(gpu, STORIES);
});
afterAll(() => gpu.close());

const POSITIONS = 8192;
const WANTS = { top: 5, all: true, lse: true };
const ids = (seed: number, count: number) =>
  Array.from({ length: count }, (_, at) => 3 + ((at * 37 + seed * 101) % 500));
/** Lengths of prompts; together they take several blocks of keys, and slots that begin far from each other. */
const LENGTHS = [300, 1, 40, 7, 256, 90, 2, 33, 130];

async function begin(batch: Batch, seed: number): Promise<Slot> {
  const slot = batch.pool.acquire();
  const prompt = ids(seed, LENGTHS[seed] ?? 1);
  await batch.pass([], { slot, ids: prompt, sequenceLength: prompt.length + 1 });
  return slot;
}

/** The logits after some tokens of one sequence, with as many others beside it as one likes. */
async function logitsBeside(batch: Batch, seed: number, others: readonly number[], before: boolean) {
  const slots: Slot[] = [];
  for (const other of before ? others : []) slots.push(await begin(batch, other));
  const slot = await begin(batch, seed);
  for (const other of before ? [] : others) slots.push(await begin(batch, other));
  const found: BatchLogits[] = [];
  for (let step = 0; step < 3; step++) {
    const token = (one: Slot, at: number) => ({ slot: one, id: 5 + 11 * step + at, ...WANTS });
    const mine = token(slot, seed);
    const theirs = slots.map((one, at) => token(one, 20 + at));
    const rows = (await batch.pass(before ? [...theirs, mine] : [mine, ...theirs])).next;
    found.push(...rows.slice(before ? -1 : 0, before ? undefined : 1));
  }
  for (const one of [slot, ...slots]) batch.pool.release(one);
  return found;
}

describe.each([
  [4, [1, 3]],
  [8, [6]],
  [9, [8]],
  [40, [8]],
])("in a batch of at most %d", (rows, counts) => {
  test("a sequence's numbers are the same bits, whoever is decoded beside it and wherever its slot is", async () => {
    using batch = new Batch(decoder, { rows, positions: POSITIONS });
    for (const seed of [0, 8]) {
      const alone = await logitsBeside(batch, seed, [], true);
      expect(alone[0]?.all).toHaveLength(decoder.config.vocabularySize);
      const others = LENGTHS.map((_, at) => at).filter((at) => at !== seed);
      for (const count of counts) {
        for (const before of [true, false]) {
          expect(await logitsBeside(batch, seed, others.slice(0, count), before)).toEqual(alone);
        }
      }
    }
  });
});

test("numbers are those of a pass over a whole sequence, by the other way", async () => {
  using batch = new Batch(decoder, { rows: 4, positions: POSITIONS });
  const prompt = ids(4, 200);
  const slot = batch.pool.acquire();
  await batch.pass([], { slot, ids: prompt.slice(0, 150), sequenceLength: 200 });
  await batch.pass([], { slot, ids: prompt.slice(150, -1), sequenceLength: 200 });
  const [found] = (await batch.pass([{ slot, id: prompt.at(-1) ?? 0, ...WANTS }])).next;
  const wanted = await logitsAfter(decoder, prompt);
  expect(found?.all).toHaveLength(wanted.length);
  const largest = wanted.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0);
  wanted.forEach((logit, id) => expect(Math.abs(logit - (found?.all?.[id] ?? NaN))).toBeLessThan(1e-5 * largest));
  const sum = wanted.reduce((total, logit) => total + Math.exp(logit), 0);
  expect(found?.lse).toBeCloseTo(Math.log(sum), 4);
  const best = Array.from(wanted.keys()).toSorted((left, right) => (wanted[right] ?? 0) - (wanted[left] ?? 0));
  expect([...(found?.ids ?? [])]).toEqual(best.slice(0, 5));
});

test("a slot that becomes another one goes on as it would", async () => {
  using batch = new Batch(decoder, { rows: 4, positions: POSITIONS });
  const [one, other] = [await begin(batch, 0), await begin(batch, 5)];
  const step = async (slot: Slot) => (await batch.pass([{ slot, id: 77, ...WANTS }])).next;
  const third = batch.pool.acquire();
  await batch.pool.copy([{ from: one, to: third, length: one.length }]);
  const [ofOne, ofOther] = [await step(one), await step(other)];
  expect(ofOne).not.toEqual(ofOther);
  expect(await step(third)).toEqual(ofOne);
  one.truncate(LENGTHS[0] ?? 0);
  other.truncate(LENGTHS[5] ?? 0);
  // Both at once: nothing is overwritten before it is read.
  await batch.pool.copy([
    { from: one, to: other, length: one.length },
    { from: other, to: one, length: other.length },
  ]);
  expect(await step(other)).toEqual(ofOne);
  expect(await step(one)).toEqual(ofOther);
});
