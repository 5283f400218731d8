import { expect, test } from "bun:test";
import { expectedStories } from "../../../fixtures/stories/storyteller.ts";
import { loadStoriesModel, serveStories, type TestServer } from "./testing/server.ts";

test("with room for a third of what all need, no request is lost, and each text is the one that it is alone", async () => {
  await using model = await loadStoriesModel();
  const texts = await expectedStories();
  const prompts = Array.from(
    { length: 8 },
    (_, at) => `${at} ${(texts[at % texts.length]?.text ?? "").repeat(at % 3 === 0 ? 2 : 10)}`,
  );
  const say = async (serving: TestServer, prompt: string) => {
    const asked = { model: "storyteller", prompt, max_tokens: 150 };
    return (await serving.client.completions.create(asked)).choices[0]?.text;
  };
  const alone: (string | undefined)[] = [];
  {
    await using roomy = serveStories(model, { parallel: 6 });
    for (const prompt of prompts) alone.push(await say(roomy, prompt));
  }
  // Each takes one or two blocks of 256 positions; six run at a time.
  await using serving = serveStories(model, { parallel: 6, positions: 4 * 256 });
  expect(await Promise.all(prompts.map((prompt) => say(serving, prompt)))).toEqual(alone);
  expect(serving.failures).toEqual([]);
  expect(serving.engine.load).toBe(0);
});
