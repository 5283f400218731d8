import { expect, spyOn, test } from "bun:test";
import * as v from "valibot";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { Batch } from "../../models/decoder/cache/batch.ts";
import { KeyLimits, readApiKeys } from "./api-keys.ts";
import { TrustedProxies } from "./proxy.ts";
import { failure, loadStoriesModel, serveStories, until } from "./testing/server.ts";

const KEY = { key: "secret-1", name: "ada" };

test("limits are those of a minute, and fill up evenly", () => {
  let now = 0;
  const limits = new KeyLimits({ ...KEY, requestsPerMinute: 2, tokensPerMinute: 100, parallel: 2 }, () => now);
  const first = limits.begin();
  const second = limits.begin();
  expect(() => limits.begin()).toThrow("2 requests at a time");
  first.end(10);
  first.end(10); // once
  expect(() => limits.begin()).toThrow("2 requests a minute");
  now = 30_000;
  limits.begin().end(250);
  second.end(0);
  now = 60_000;
  expect(() => limits.begin()).toThrow("100 tokens a minute");
  now = 180_000;
  limits.begin().end(0);
});

test("each text of a request counts against the texts at a time, until it has ended", () => {
  const limits = new KeyLimits({ ...KEY, parallel: 4 });
  const [first, second] = [limits.begin(), limits.begin()];
  first.counts(3);
  expect(() => second.counts(2)).toThrow("4 requests at a time");
  expect(() => second.counts(5)).toThrow("the request asks for 5 answers, and this API key allows 4 at a time");
  expect(() => limits.begin()).toThrow("4 requests at a time");
  first.end(0);
  second.counts(4);
  second.end(0);
  limits.begin().counts(4);
});

test("a file of keys is read, and refused where it makes no sense", async () => {
  await using folder = await TemporaryFolder.create();
  const path = folder.at("keys.json");
  const read = async (value: unknown): Promise<unknown> => {
    await Bun.write(path, JSON.stringify(value));
    return await readApiKeys(path);
  };
  expect(await read([{ ...KEY, parallel: 2 }])).toEqual([
    { ...KEY, parallel: 2, requestsPerMinute: undefined, tokensPerMinute: undefined },
  ]);
  for (const bad of [{}, [], [{ key: "x", name: "ada" }], [KEY, { ...KEY, key: "secret-2" }], [{ ...KEY, rate: 1 }]]) {
    expect(await failure(read(bad))).toMatchObject({ code: "format" });
  }
});

test("a server holds each key to its limits, knows where proxies say a request comes from, and counts", async () => {
  await using model = await loadStoriesModel();
  const apiKeys = [
    { ...KEY, requestsPerMinute: 1 },
    { key: "secret-2", name: "bob", parallel: 2 },
  ];
  const lines: string[] = [];
  await using serving = serveStories(model, {
    apiKey: "main-key",
    apiKeys,
    proxies: new TrustedProxies(["127.0.0.1"]),
    onRequest: (line) => void lines.push(line),
  });
  const post = async (key: string, path: string, body: object): Promise<number> => {
    const response = await fetch(serving.address + path, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "x-forwarded-for": "198.51.100.7" },
      body: JSON.stringify(body),
    });
    await response.text();
    return response.status;
  };
  const ask = (key: string, extra: object = {}): Promise<number> =>
    post(key, "/v1/completions", { prompt: "Once", max_tokens: 2, ...extra });
  expect([await ask("secret-1"), await ask("secret-1"), await ask("secret-2"), await ask("secret-3")]).toEqual([
    200, 429, 200, 401,
  ]);
  expect(await post("secret-1", "/api/show", {})).toBe(429);
  expect(await ask("secret-2", { prompt: ["One", "Two"], n: 2, temperature: 1 })).toBe(400);
  expect(lines[0]).toStartWith("198.51.100.7 POST /v1/completions 200");
  const metrics = `${serving.address}/metrics`;
  expect((await fetch(metrics)).status).toBe(401);
  const text = await (await fetch(metrics, { headers: { authorization: "Bearer main-key" } })).text();
  expect(text).toContain('randlora_http_responses_total{status="200"} 2\n');
  expect(text).toContain('randlora_http_responses_total{status="429"} 2\n');
  expect(text).toContain("randlora_generated_tokens_total 4\n");
});

test("tokens count where a client leaves before the end of its answer, too, and not where it is refused", async () => {
  await using model = await loadStoriesModel();
  await using serving = serveStories(model, {
    apiKeys: [{ ...KEY, tokensPerMinute: 5 }],
    parallel: 1,
    queueLength: 1,
  });
  const text = "Once upon a time there was";
  const ask = async (signal: AbortSignal | null, prompt: string | string[] = text): Promise<Response> =>
    await fetch(`${serving.address}/v1/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${KEY.key}` },
      body: JSON.stringify({ prompt, max_tokens: 400, stream: true }),
      signal,
    });
  expect((await ask(null, [text, text, text])).status).toBe(400);
  const left = new AbortController();
  await (await ask(left.signal)).body?.getReader().read();
  left.abort();
  await until(() => serving.engine.load === 0);
  expect((await ask(null)).status).toBe(429);
  // And as what the server did.
  const metrics = await fetch(`${serving.address}/metrics`, { headers: { authorization: `Bearer ${KEY.key}` } });
  expect(await metrics.text()).toMatch(/prompt_tokens_total [1-9][^]*generated_tokens_total [1-9]/);
});

test("what another key or network asked is never found: a guess of it takes the passes of any other text", async () => {
  await using model = await loadStoriesModel();
  const apiKeys = ["ada", "eve"].map((name) => ({ key: name, name }));
  const proxies = new TrustedProxies(["127.0.0.1"]);
  const secret = model.tokenizer.encode("Once upon a time there was a little dog who lived in a big house");
  const other = secret.toReversed();
  for (const [serving, headers] of [
    [serveStories(model, { apiKeys }), (who: string) => ({ authorization: `Bearer ${who === "1" ? "ada" : "eve"}` })],
    [serveStories(model, { proxies }), (who: string) => ({ "x-forwarded-for": `192.0.2.${who}` })],
  ] as const) {
    await using _ = serving;
    using pass = spyOn(Batch.prototype, "pass");
    const ask = async (who: string, prompt: readonly number[]) => {
      const before = pass.mock.calls.length;
      const init = {
        method: "POST",
        headers: headers(who),
        body: JSON.stringify({ model: "storyteller", prompt, max_tokens: 1 }),
      };
      const { usage } = v.parse(Used, await (await fetch(`${serving.address}/v1/completions`, init)).json());
      const passes = pass.mock.calls.slice(before).flatMap(([, ...pieces]) => pieces.map(({ ids }) => ids.length));
      return { cached: usage.prompt_tokens_details.cached_tokens, passes };
    };
    const computed = { cached: 0, passes: [secret.length - 1] };
    expect(await ask("1", secret)).toEqual(computed);
    expect(await ask("2", other)).toEqual(computed);
    expect(await ask("2", secret)).toEqual(computed);
    expect(await ask("1", secret)).toEqual({ cached: secret.length - 1, passes: [] });
  }
});

const Used = v.object({ usage: v.object({ prompt_tokens_details: v.object({ cached_tokens: v.number() }) }) });
