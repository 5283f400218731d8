import { expect, test } from "bun:test";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { writeArchitecture } from "../testing/architectures.ts";
import { Batch } from "./cache/batch.ts";
import { loadDecoder } from "../folder/load-decoder.ts";

test("what may follow on a prompt's tokens has probabilities that sum to 1, the next token's own among them", async () => {
  await using folder = await TemporaryFolder.create();
  using device = await openTestDevice();
  await writeArchitecture(folder.at("llama"), "llama", 2);
  using decoder = await loadDecoder(device, folder.at("llama"));
  using batch = new Batch(decoder, { rows: 1, positions: 256 });
  const { vocabularySize: top } = decoder.config;
  const [ids, next] = [
    [3, 5, 7],
    [5, 7, 2],
  ];
  const slot = batch.pool.acquire();
  const { pieces } = await batch.pass([], { slot, ids, sequenceLength: 3, scoring: { next, top } });
  const scores = pieces[0]?.scores ?? [];
  expect(scores.length).toBe(3);
  for (const [at, { ids: best, logprobs, own }] of scores.entries()) {
    expect(logprobs.reduce((sum, logprob) => sum + Math.exp(logprob), 0)).toBeCloseTo(1, 4);
    expect(logprobs).toEqual(logprobs.toSorted((a, b) => b - a));
    expect(logprobs[best.indexOf(next[at] ?? NaN)]).toBeCloseTo(own, 4);
  }
});
