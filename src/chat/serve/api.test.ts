import { expect, setDefaultTimeout, test } from "bun:test";
import { Api, IDLE_SECONDS } from "./api.ts";
import { Engine } from "./engine.ts";
import { Metrics } from "./metrics.ts";
import { ModelList } from "./models.ts";
import { failure, loadStoriesModel, until } from "./testing/server.ts";

setDefaultTimeout(60_000);

test("who is turned away at the last moment has a connection that times out, as everybody has", async () => {
  await using model = await loadStoriesModel();
  await using engine = new Engine(model, { queueLength: 1, parallel: 1, adapters: 0, positions: 512 });
  const api = new Api({
    model,
    models: new ModelList({ id: "stories", adapters: [], raw: false, weights: "stories" }, []),
    engine,
    prompts: { system: undefined, templateVariables: {}, context: 512 },
    pooling: "mean",
    slots: false,
    defaults: { sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1 }, maxTokens: undefined },
    onFailure: () => {},
    metrics: new Metrics(),
    apiKey: undefined,
  });
  const left = new AbortController();
  const ask = (stream: boolean) => {
    const timeouts: number[] = [];
    const request = new Request("http://localhost/", {
      method: "POST",
      body: JSON.stringify({ prompt: "Once", stream }),
      signal: left.signal,
    });
    const setTimeout = (seconds: number): void => void timeouts.push(seconds);
    return { timeouts, answered: api.handle("/v1/completions", { request, address: "127.0.0.1", setTimeout }) };
  };
  const running = ask(true);
  await running.answered;
  await until(() => engine.load === 1);
  // All of them find room, then make their prompts; only one of them stands in the queue first.
  const [first, ...others] = [true, true, false].map(ask);
  const refused = await Promise.all(others.map(({ answered }) => failure(answered)));
  await first?.answered;
  expect(refused).toEqual(others.map(() => expect.objectContaining({ status: 429 })));
  for (const { timeouts } of others) expect(timeouts).toEqual([0, IDLE_SECONDS]);
  expect([running.timeouts, first?.timeouts]).toEqual([[0], [0]]);
  left.abort();
  await until(() => engine.load === 0);
  expect([running.timeouts, first?.timeouts]).toEqual([
    [0, IDLE_SECONDS],
    [0, IDLE_SECONDS],
  ]);
});
