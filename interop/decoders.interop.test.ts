import * as v from "valibot";
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import type { Device } from "../src/compute/device/device.ts";
import { openTestDevice } from "../src/compute/device/testing/open.ts";
import { SUPPORTED_TYPES } from "../src/models/decoder/architectures/index.ts";
import type { Decoder } from "../src/models/decoder/decoder.ts";
import { loadDecoder } from "../src/models/folder/load-decoder.ts";
import { inBlocks } from "../src/models/decoder/cache/layer-cache.ts";
import { DecodeLoop } from "../src/chat/generation/decode-loop.ts";
import { EmbeddingSequence, normalized } from "../src/chat/generation/embedding.ts";
import { endOf } from "../src/chat/generation/sequence.ts";
import { answersOf, type TextAnswer } from "./answers.ts";
import { judge } from "./judge.ts";
import { EMBEDDED_MODEL, smollm2 } from "./models.ts";
import { passed, SMOLLM2 } from "./verified.ts";
import { bestOf, logitsAfter } from "../src/models/testing/logits.ts";

setDefaultTimeout(600_000);

const Made = v.record(
  v.string(),
  v.object({
    ids: v.array(v.number()),
    logits: v.array(v.number()),
    nll: v.number(),
    greedy: v.array(v.number()),
  }),
);

const folder = await mkdtemp(join(tmpdir(), "randlora-decoders-"));
await (await judge()).script("decoders.py", folder);
const made = v.parse(Made, await Bun.file(join(folder, "expected.json")).json());

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(async () => {
  gpu.close();
  await rm(folder, { recursive: true });
});

interface Step {
  readonly id: number;
  readonly logit: number;
  /** Distance of the best logit from the second best. */
  readonly gap: number;
}

/** Decodes greedily, a token a pass through the cache. */
async function greedy(decoder: Decoder, ids: readonly number[], count: number): Promise<Step[]> {
  using cache = decoder.createCache();
  let last = ids;
  const steps: Step[] = [];
  while (steps.length < count) {
    const { ids: best, logits } = bestOf(await logitsAfter(decoder, last, cache), 2);
    const [id = NaN] = best;
    const [logit = NaN, second = NaN] = logits;
    steps.push({ id, logit, gap: logit - second });
    last = [id];
  }
  return steps;
}

/** Equal, or first different where our two best logits are within 1e-3 of the largest. */
function expectSameTokens(found: readonly Step[], wanted: readonly number[]): void {
  const differs = wanted.findIndex((id, at) => found[at]?.id !== id);
  if (differs === -1) return;
  const { gap = NaN, logit = NaN } = found[differs] ?? {};
  expect(gap, `token ${differs} differs`).toBeLessThan(1e-3 * Math.abs(logit));
}

async function nll(decoder: Decoder, ids: readonly number[]): Promise<number> {
  using cache = decoder.createCache();
  const values = await decoder.nll(cache, ids);
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

describe("random-weight decoders compute what transformers computes", () => {
  test("every architecture is tried", () => {
    const tried = new Set(Object.keys(made).map((name) => name.split("-")[0]?.replace("_text", "")));
    expect([...tried].toSorted()).toEqual(
      [...new Set(SUPPORTED_TYPES.map((type) => type.replace("_text", "")))].toSorted(),
    );
  });
  for (const [name, wanted] of Object.entries(made)) {
    test(name, async () => {
      using decoder = await loadDecoder(gpu, join(folder, name));
      const found = await logitsAfter(decoder, wanted.ids);
      const largest = wanted.logits.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0);
      const worst = wanted.logits.reduce((most, logit, id) => Math.max(most, Math.abs((found[id] ?? NaN) - logit)), 0);
      expect(found.length).toBe(wanted.logits.length);
      expect(worst).toBeLessThan(1e-3 * largest);
      expect(Math.abs((await nll(decoder, wanted.ids)) - wanted.nll)).toBeLessThan(1e-4 * wanted.nll);
      expectSameTokens(await greedy(decoder, wanted.ids, wanted.greedy.length), wanted.greedy);
      await passed(join(folder, name), ["logits", "texts"]);
    });
  }
});

/** Every number of a text's embedding is within 1e-4 of what transformers' hidden states give. */
async function expectSameEmbedding(decoder: Decoder, { ids, mean_state, last_state }: TextAnswer): Promise<void> {
  using loop = new DecodeLoop(decoder, { rows: 1, positions: inBlocks(ids.length) });
  for (const [pooling, state] of [
    ["mean", mean_state],
    ["last", last_state],
  ] as const) {
    const context = decoder.config.contextLength;
    const found = normalized(await endOf(loop.write(new EmbeddingSequence(decoder, ids, { pooling, context }))));
    const wanted = normalized(Float64Array.from(state));
    expect(Math.max(...found.map((value, at) => Math.abs(value - (wanted[at] ?? NaN))))).toBeLessThan(1e-4);
  }
}

describe("real models say what transformers says", () => {
  test.each([
    ["storyteller", async () => STORIES],
    ["the embedded model", async () => EMBEDDED_MODEL],
    ["smollm2-135m", smollm2],
  ] as const)("%s", async (_, locate) => {
    const model = await locate();
    const { texts, chats } = await answersOf(model);
    using decoder = await loadDecoder(gpu, model);
    for (const prompt of [...texts, ...chats]) {
      const found = await logitsAfter(decoder, prompt.ids);
      const largest = prompt.top_logits[0] ?? NaN;
      prompt.top_ids.forEach((id, rank) => {
        expect(Math.abs((found[id] ?? NaN) - (prompt.top_logits[rank] ?? NaN))).toBeLessThan(1e-3 * largest);
      });
      expect(Math.abs((await nll(decoder, prompt.ids)) - prompt.nll)).toBeLessThan(1e-4 * prompt.nll);
      expectSameTokens(await greedy(decoder, prompt.ids, prompt.greedy_ids.length), prompt.greedy_ids);
      await expectSameEmbedding(decoder, prompt);
    }
    if (locate === smollm2) await passed(model, ["logits", "texts"], SMOLLM2);
  });
});
