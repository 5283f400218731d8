import { expect, spyOn, test } from "bun:test";
import { expectedStories } from "../../../fixtures/stories/storyteller.ts";
import { FIRST_GPU } from "../../compute/device/testing/open.ts";
import { Gpu } from "../../compute/gpu/gpu.ts";
import { limitBuffers } from "../../compute/gpu/testing/full-gpu.ts";
import { SampledSequence } from "../generation/sampled-sequence.ts";
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

test("with room for a third of what all need, no request is lost, and each text is the one that it is alone", async () => {
  await using model = await loadStoriesModel();
  const [{ ids }] = await expectedStories();
  const story = Array.from({ length: 30 }, () => ids).flat();
  // Most come to their second block of 256 positions while they are written.
  const prompts = Array.from({ length: 8 }, (_, at) => [at + 5, ...story].slice(0, at % 3 === 0 ? 60 : 240));
  const say = async (serving: TestServer, prompt: number[]) => {
    const asked = { model: "storyteller", prompt, max_tokens: 32 };
    return (await serving.client.completions.create(asked)).choices[0]?.text;
  };
  const alone: (string | undefined)[] = [];
  {
    await using roomy = serveStories(model, { parallel: 6 });
    for (const prompt of prompts) alone.push(await say(roomy, prompt));
  }
  // Six run at a time.
  await using serving = serveStories(model, { parallel: 6, positions: 4 * 256 });
  using prompted = spyOn(SampledSequence.prototype, "prompted");
  expect(await Promise.all(prompts.map((prompt) => say(serving, prompt)))).toEqual(alone);
  // Some gave way, and began again.
  expect(prompted.mock.calls.length).toBeGreaterThan(prompts.length);
  expect(serving.failures).toEqual([]);
  expect(serving.engine.load).toBe(0);
});
