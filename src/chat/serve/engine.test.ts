import { expect, test } from "bun:test";
import { loadStoriesModel, serveStories } from "./testing/server.ts";

test("a rehearsal leaves nothing behind, and changes nothing", async () => {
  await using model = await loadStoriesModel();
  await using rehearsed = serveStories(model);
  await rehearsed.engine.rehearse(await rehearsed.engine.placed.placeFirst(rehearsed.models));
  expect(rehearsed.engine.load).toBe(0);
  await using plain = serveStories(model);
  const say = async ({ client }: typeof plain) => {
    const body = { model: "storyteller", prompt: [0, 0, 0, 5], max_tokens: 10, logprobs: 1 };
    const { choices, usage } = await client.completions.create(body);
    return { choices, cached: usage?.prompt_tokens_details?.cached_tokens };
  };
  expect(await say(rehearsed)).toEqual({ ...(await say(plain)), cached: 0 });
});
