import { expect, test } from "bun:test";
import { expectedStories } from "../../../fixtures/stories/storyteller.ts";
import { FIRST_GPU } from "../../compute/device/testing/open.ts";
import { Gpu } from "../../compute/gpu/gpu.ts";
import { limitBuffers } from "../../compute/gpu/testing/full-gpu.ts";
import { failure, loadStoriesModel, serveStories, type TestServer } from "./testing/server.ts";

const ask = (serving: TestServer, prompt: string) =>
  serving.client.completions.create({ model: "storyteller", prompt, max_tokens: 24 });

test("a GPU that runs out of memory ends a request at most, and the others write what they would alone", async () => {
  await using model = await loadStoriesModel(FIRST_GPU);
  const { gpu } = model;
  if (!(gpu instanceof Gpu)) throw new Error("not a GPU");
  await using serving = serveStories(model);
  const texts = await expectedStories();
  gpu.memory.trim();
  using full = limitBuffers(gpu, 0);
  expect(await failure(ask(serving, "Once"))).toMatchObject({
    status: 503,
    message: expect.stringMatching(/the GPU has no room for .* try again later/),
  });
  expect((await fetch(`${serving.address}/health`)).status).toBe(200);
  // As much as one request takes, and not two at a time: what has no room is computed when another one has ended.
  for (const most of [2.4e6, Infinity]) {
    const { refused } = full;
    full.most = most;
    const asked = Array.from({ length: 5 }, async (_, at) => {
      const { text, greedy_text: wanted } = texts[at % texts.length] ?? { text: "", greedy_text: "" };
      const found = (await ask(serving, text)).choices[0]?.text ?? "";
      expect(found.length).toBeGreaterThan(30);
      expect(wanted).toStartWith(found);
    });
    await Promise.all(asked);
    expect(full.refused > refused).toBe(most < Infinity);
  }
  expect(serving.engine.load).toBe(0);
});
