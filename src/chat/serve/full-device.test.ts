import { expect, spyOn, test } from "bun:test";
import { expectedStories } from "../../../fixtures/stories/storyteller.ts";
import { SampledSequence } from "../generation/sampled-sequence.ts";
import { loadStoriesModel, serveStories, type TestServer } from "./testing/server.ts";

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
