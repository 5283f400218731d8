import { afterAll, beforeAll, expect, test } from "bun:test";
import { expectedStories, STORIES } from "../../../fixtures/stories/storyteller.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { decode, GREEDY } from "../testing/decoder.ts";
import { DecodeLoop } from "./decode-loop.ts";
import type { FinishReason } from "./next-token.ts";
import { DEFAULT_SAMPLING, type SamplingOptions } from "./sampling.ts";
import { type SampledOptions, SampledSequence } from "./sampled-sequence.ts";

let gpu: Device;
let decoder: Decoder;
let prompt: number[];
let greedy: number[];
beforeAll(async () => {
  gpu = await openTestDevice();
  decoder = await loadDecoder(gpu, STORIES);
  [{ ids: prompt, greedy_ids: greedy }] = await expectedStories();
}, 120_000);
afterAll(() => gpu.close());

const newLoop = () => new DecodeLoop(decoder, { rows: 1, positions: 1024, keepsAnswers: true });

async function all(
  sampling: SamplingOptions,
  options: Partial<SampledOptions> = {},
): Promise<{ tokens: number[]; reason: FinishReason }> {
  using loop = newLoop();
  const { tokens, reason } = await decode(loop, { prompt, sampling, ...options });
  return { tokens, reason };
}

test("greedy text is transformers', ranked on the GPU or here", async () => {
  const wanted = { tokens: greedy.slice(0, 20), reason: "length" as const };
  expect(await all(GREEDY)).toEqual(wanted);
  expect(await all({ ...GREEDY, penaltyWindow: 0, presencePenalty: 1 })).toEqual(wanted);
});

test("the same seed gives the same text, on the GPU's ranking and on ours", async () => {
  const hot = { ...DEFAULT_SAMPLING, temperature: 1.5, topP: 1, minP: 0 };
  const first = await all({ ...hot, seed: 5 });
  expect(await all({ ...hot, seed: 5 })).toEqual(first);
  expect(await all({ ...hot, seed: 5, penaltyWindow: 0, presencePenalty: 1 })).toEqual(first);
  expect(await all({ ...hot, seed: 6 })).not.toEqual(first);
});

const kept = async ({ buffer }: Tensor) =>
  await gpu.readWith([{ buffer, offset: 0, size: buffer.size }], async ([bytes]) =>
    new Uint8Array(bytes ?? []).slice(),
  );

/** Every way in which a token is chosen: on the GPU or here, of some or of all, greedily or not. */
const WAYS: readonly (readonly [string, SamplingOptions, Partial<SampledOptions>])[] = [
  ["greedy", GREEDY, {}],
  ["greedy with penalties", { ...GREEDY, presencePenalty: 1 }, {}],
  ["the best 40", DEFAULT_SAMPLING, {}],
  ["all", { ...DEFAULT_SAMPLING, topK: 0 }, {}],
  ["all, none cut", { ...DEFAULT_SAMPLING, topK: 0, topP: 1, minP: 0 }, {}],
  ["the best 200", { ...DEFAULT_SAMPLING, topK: 200 }, {}],
  ["the best 40 with penalties", { ...DEFAULT_SAMPLING, repeatPenalty: 1.1 }, {}],
];

test.each(WAYS)("logits that are no numbers end in an error, not in a text: %s", async (_, sampling, options) => {
  const error = {
    code: "numeric",
    message: `the model's logits after ${prompt.length} tokens are not finite`,
    hint: expect.stringContaining("damaged"),
  };
  const { embedding } = decoder.weights;
  const { weight: norm } = decoder.weights.norm;
  const whole = await kept(norm);
  gpu.write(norm.buffer, new Float32Array(norm.shape[1]).fill(NaN));
  await expect(all(sampling, options)).rejects.toMatchObject(error);
  gpu.write(norm.buffer, whole);
  // One logit alone: the output matrix is the embedding, and nothing else reads this token's row.
  const table = await kept(embedding);
  const unused = 500;
  expect([...prompt, ...greedy]).not.toContain(unused);
  const damaged = new Float32Array(table.slice().buffer);
  damaged[embedding.offset + unused * embedding.pitch + 5] = NaN;
  gpu.write(embedding.buffer, damaged);
  await expect(all(sampling, options)).rejects.toMatchObject(error);
  gpu.write(embedding.buffer, table);
  expect((await all(GREEDY)).tokens).toEqual(greedy.slice(0, 20));
});

test("penalties change the text", async () => {
  const { tokens } = await all({ ...GREEDY, presencePenalty: 100, penaltyWindow: 64 });
  expect(new Set(tokens).size).toBe(tokens.length);
});

test("a stop token ends the text and is not part of it", async () => {
  const stop = greedy[7] ?? NaN;
  const before = greedy.slice(0, greedy.indexOf(stop));
  expect(await all(GREEDY, { stopTokens: new Set([stop]) })).toEqual({ tokens: before, reason: "stop" });
});

test("the text ends with the context, or slides on", async () => {
  const context = prompt.length + 6;
  expect(await all(GREEDY, { context })).toEqual({ tokens: greedy.slice(0, 6), reason: "length" });
  const { tokens, reason } = await all(GREEDY, { context, shift: true });
  expect(tokens.slice(0, 6)).toEqual(greedy.slice(0, 6));
  expect([tokens.length, reason]).toEqual([20, "length"]);
  // After the first slide the model sees the newer half and nothing else.
  const half = [...prompt, ...greedy].slice(context - Math.ceil(context / 2), context);
  expect((await all(GREEDY, { maxTokens: 4, prompt: half })).tokens).toEqual(tokens.slice(6, 10));
  // Models that begin every text with a token keep it.
  const kept = (await all(GREEDY, { context, shift: true, keep: 1 })).tokens;
  const begun = [...prompt.slice(0, 1), ...half.slice(1)];
  expect((await all(GREEDY, { maxTokens: 4, prompt: begun })).tokens).toEqual(kept.slice(6, 10));
});

test("a text can be left or cancelled at any token, and no more is made than was asked for", async () => {
  const before = gpu.memory.liveBytes;
  const stop = new AbortController();
  let count = 0;
  const run = async () => {
    using loop = newLoop();
    await decode(loop, { prompt, maxTokens: 50, signal: stop.signal }, undefined, (made) => {
      count = made;
      if (made === 3) stop.abort(new Error("enough"));
    });
  };
  await expect(run()).rejects.toThrow("enough");
  expect(count).toBe(3);
  const loop = newLoop();
  const options = { prompt, sampling: GREEDY, maxTokens: 50, stopTokens: new Set<number>(), context: 512 };
  const left = loop.write(new SampledSequence(options));
  for (let at = 0; at < 4; at++) await left.next();
  await left.return({ reason: "stop", stop: undefined });
  expect(loop.size).toBe(0);
  const made = { tokens: [], cached: NaN };
  await decode(loop, { prompt: [...prompt, ...greedy.slice(0, 10)] }, made);
  // All but the last token that was made.
  expect(made.cached).toBe(prompt.length + 2);
  loop[Symbol.dispose]();
  expect(gpu.memory.liveBytes).toBe(before);
});
