import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { type BatchAnswer, generateBatch } from "../src/chat/generation/batch.ts";
import type { Device } from "../src/compute/device/device.ts";
import { openTestDevice } from "../src/compute/device/testing/open.ts";
import { loadDecoder } from "../src/models/folder/load-decoder.ts";
import { judge } from "./judge.ts";
import { passed } from "./verified.ts";

setDefaultTimeout(600_000);

const Text = v.object({ tokens: v.array(v.number()), stopped: v.boolean(), score: v.nullable(v.number()) });
const Made = v.record(
  v.string(),
  v.object({
    prompts: v.array(v.array(v.number())),
    stops: v.array(v.number()),
    beams: v.record(v.string(), v.array(Text)),
  }),
);
const NEW_TOKENS = 12;

const folder = await mkdtemp(join(tmpdir(), "randlora-beams-"));
await (await judge()).script("beams.py", folder);
const made = v.parse(Made, await Bun.file(join(folder, "expected.json")).json());

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(async () => {
  gpu.close();
  await rm(folder, { recursive: true });
});

test("some texts stop, and some do not; beams find others than greedy search does", () => {
  const texts = Object.values(made).flatMap(({ beams }) => Object.values(beams).flat());
  expect(new Set(texts.map(({ stopped }) => stopped)).size).toBe(2);
  for (const { beams } of Object.values(made)) {
    const tokens = (count: number) => beams[count]?.map((text) => text.tokens);
    expect(tokens(4)).not.toEqual(tokens(1));
  }
});

for (const [name, { prompts, stops, beams }] of Object.entries(made)) {
  test(`${name}: texts and scores are transformers', whatever the size of the batch`, async () => {
    using decoder = await loadDecoder(gpu, join(folder, name));
    for (const [count, texts] of Object.entries(beams)) {
      for (const batchSize of [1, 2, 3, 5, 8]) {
        const answers: BatchAnswer[] = [];
        const options = { beams: Number(count), maxTokens: NEW_TOKENS, stopTokens: new Set(stops), batchSize };
        await generateBatch(decoder, prompts, { ...options, context: 100 }, (answer) => void answers.push(answer));
        const found = answers.toSorted((left, right) => left.index - right.index);
        expect(found).toEqual(
          texts.map(({ tokens, stopped, score }, index) => ({
            index,
            tokens,
            finishReason: stopped ? "stop" : "length",
            score: score === null ? undefined : expect.closeTo(score, 3),
          })),
        );
      }
    }
    await passed(join(folder, name), ["beams"]);
  });
}
