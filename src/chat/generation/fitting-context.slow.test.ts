import { expect, test } from "bun:test";
import { expectedStories, STORIES } from "../../../fixtures/stories/storyteller.ts";
import { CpuDevice } from "../../compute/cpu/cpu.ts";
import { itemAt } from "../../files/item-at.ts";
import { RandloraError } from "../../files/errors.ts";
import { Batch } from "../../models/decoder/cache/batch.ts";
import type { Slot } from "../../models/decoder/cache/slot.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import { generateBatch } from "./batch.ts";
import { fittingContext, fittingPositions, plannedBytes } from "./fitting-context.ts";

const THREADS = 2;
/** Bytes that the weights take, and what a model of this size is given beside them. */
const [WEIGHTS, BESIDE] = await (async () => {
  using device = await CpuDevice.open({ threads: THREADS });
  using decoder = await loadDecoder(device, STORIES);
  return [decoder.weights.bytes, 12e6] as const;
})();

test("without --memory a context is as long as it is asked for, and nothing is counted", async () => {
  using device = await CpuDevice.open({ threads: THREADS });
  using decoder = await loadDecoder(device, STORIES);
  const { contextLength: context } = decoder.config;
  const fits = await fittingContext(decoder, { asked: undefined, rows: 3 });
  expect(fits).toEqual({ context, positions: 3 * context, notes: [] });
  expect(await fittingContext(decoder, { asked: 1e6, rows: 1 })).toMatchObject({
    context: 1e6,
    notes: [expect.stringMatching(/^--context 1000000: /)],
  });
});

test("buffers take no more than is planned, and what is planned beside them does not follow the model", async () => {
  const [{ ids: prompt }] = await expectedStories();
  using device = await CpuDevice.open({ threads: THREADS });
  using decoder = await loadDecoder(device, STORIES);
  const [rows, context] = [2, 512];
  const planned = await plannedBytes(decoder, { rows, positions: rows * context });
  const options = { maxTokens: 300, stopTokens: new Set<number>(), batchSize: rows, context };
  await generateBatch(decoder, [prompt, prompt, prompt], options, () => {});
  const beside = planned - device.memory.peakBytes;
  expect(beside).toBeGreaterThan(320e6);
  expect(beside).toBeLessThan(334e6);
});

test("under --memory a context that was asked for and does not fit is refused with the one that does, which never exceeds it", async () => {
  const [{ ids: prompt, greedy_ids: greedy }] = await expectedStories();
  const limit = WEIGHTS + BESIDE;
  const found: Record<string, number> = {};
  for (const kvDtype of ["F32", "F16"] as const) {
    using device = await CpuDevice.open({ threads: THREADS, memory: limit });
    using decoder = await loadDecoder(device, STORIES, { kvDtype });
    const refused: unknown = await fittingContext(decoder, { asked: 1e6, rows: 2 }).catch((error: unknown) => error);
    if (!(refused instanceof RandloraError)) throw new Error("not refused");
    expect(refused.code).toBe("memory");
    expect(refused.message).toMatch(
      /^keys and values of 1000000 tokens take [\d.]+ MB beside [\d.]+ MB .*--memory allows/,
    );
    expect(refused.hint.includes("--kv-type f16 takes half")).toBe(kvDtype === "F32");
    const asked = Number(/--context (\d+) fits/.exec(refused.hint)?.[1]);
    const { positions, context } = await fittingContext(decoder, { asked, rows: 2 });
    expect(context).toBe(asked);
    found[kvDtype] = positions;
    const answers: (readonly number[])[] = [];
    const options = { maxTokens: 20, stopTokens: new Set<number>(), batchSize: 2, context };
    await generateBatch(decoder, [prompt, prompt, prompt], options, ({ tokens }) => void answers.push(tokens));
    expect(answers).toEqual([1, 2, 3].map(() => greedy.slice(0, 20)));
    expect(device.memory.peakBytes).toBeLessThanOrEqual(limit);
  }
  expect(found["F16"]).toBeGreaterThan(1.9 * (found["F32"] ?? 0));
});

test("under --memory keys and values of several sequences stay as large as they were taken, however they are laid out", async () => {
  const limit = WEIGHTS + 4 * BESIDE;
  using device = await CpuDevice.open({ threads: THREADS, memory: limit });
  using decoder = await loadDecoder(device, STORIES);
  const rows = 2;
  const { positions } = await fittingPositions(decoder, rows);
  using batch = new Batch(decoder, { rows, positions });
  const slots = Array.from({ length: rows }, () => batch.pool.acquire());
  const prefill = async (slot: Slot, count: number) => {
    const prompt = Array.from({ length: count }, () => 5);
    await batch.pass([], { slot, ids: prompt, sequenceLength: 300 });
  };
  for (const slot of slots) await prefill(slot, 250);
  const { bytes } = batch.pool;
  // The first grows to where the second begins.
  const { version } = batch.pool;
  await prefill(itemAt(slots, 0), 20);
  expect(batch.pool.version).toBeGreaterThan(version);
  expect(batch.pool.bytes).toBe(bytes);
  expect(device.memory.peakBytes).toBeLessThanOrEqual(limit);
});

test("the model's own context is cut to what fits, and that is told", async () => {
  using device = await CpuDevice.open({ threads: THREADS, memory: WEIGHTS + BESIDE });
  using decoder = await loadDecoder(device, STORIES);
  const long = Object.assign(Object.create(decoder) as Decoder, {
    config: { ...decoder.config, contextLength: 2 ** 20 },
  });
  const { context, notes } = await fittingContext(long, { asked: undefined, rows: 1 });
  expect(context).toBeLessThan(2 ** 20);
  expect(notes[0]).toStartWith(`the context ends at ${context} tokens: keys and values of 1048576 tokens take`);
});

test("weights that --memory leaves no room for are refused before they are read, with the format that fits", async () => {
  using device = await CpuDevice.open({ threads: THREADS, memory: WEIGHTS - 1 });
  await expect(loadDecoder(device, STORIES)).rejects.toMatchObject({
    code: "memory",
    message: expect.stringMatching(/^the weights take .* MB, and --memory allows .* MB$/),
    hint: expect.stringMatching(/^give --quantize q8, which takes .* MB, or raise --memory$/),
  });
  expect(device.memory.liveBytes).toBe(0);
});
