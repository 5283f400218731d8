import { expect, setDefaultTimeout, test } from "bun:test";
import { plannedBytes } from "../generation/fitting-context.ts";
import { AdaptersForTests, ask } from "./testing/adapters.ts";
import { loadStoriesModel, serveStories } from "./testing/server.ts";

setDefaultTimeout(120_000);

const made = new AdaptersForTests();

test("what is planned has room for the adapters that are loaded at the start, and for passes through them", async () => {
  await using model = await loadStoriesModel({ choice: "cpu", threads: 2 });
  const rows = 4;
  const positions = rows * 512;
  await using serving = serveStories(model, { adapters: made.adapters, parallel: rows, positions });
  const without = await plannedBytes(model.decoder, { rows, positions });
  const { memory } = model.gpu;
  const before = memory.liveBytes;
  const placed = await serving.engine.placed.placeFirst(serving.models);
  const adapters = placed.map((one) => one?.adapter);
  expect(adapters).toHaveLength(1 + made.adapters.size);
  const planned = await plannedBytes(model.decoder, { rows, positions, adapters });
  expect(planned - without).toBeGreaterThanOrEqual(memory.liveBytes - before);
  await serving.engine.rehearse(placed);
  const requests = [...made.adapters.keys(), "storyteller"].flatMap((name) =>
    [1, 2].map((seed) => ({
      model: name,
      prompt: `${"Once upon a time ".repeat(60)}there was ${name} ${seed}`,
      max_tokens: 12,
      temperature: 1.2,
      seed,
      user: name,
    })),
  );
  await Promise.all(requests.map((request) => ask(serving, request)));
  // The program itself, and holes.
  expect(planned - memory.peakBytes).toBeGreaterThan(256e6);
});
