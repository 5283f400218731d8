import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { failure, loadStoriesModel, serveStories, type TestServer, writeAdapters } from "./testing/server.ts";

setDefaultTimeout(60_000);

let serving: TestServer;
const resources = new AsyncDisposableStack();
beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), "randlora-raw-"));
  resources.defer(() => rm(folder, { recursive: true }));
  const model = resources.use(await loadStoriesModel());
  const adapters = await writeAdapters(folder);
  serving = resources.use(serveStories(model, { adapters, raw: ["pirate"], list: { preferred: "pirate" } }));
}, 120_000);
afterAll(() => resources.disposeAsync());

const user = (content: string) => ({ role: "user" as const, content });
const ASKED = { max_tokens: 12, temperature: 0 };

test("a model that was trained without the chat template continues the last message as it stands", async () => {
  const { client } = serving;
  const messages = [user("Hello"), { role: "assistant" as const, content: "Hi" }, user("Once upon a time")];
  const say = async (model: string) =>
    (await client.chat.completions.create({ ...ASKED, model, messages })).choices[0]?.message.content;
  const continued = async (model: string) =>
    (await client.completions.create({ ...ASKED, model, prompt: "Once upon a time" })).choices[0]?.text;
  expect(await say("pirate")).toBe(await continued("pirate"));
  // The others are asked by the template, as ever.
  expect(await say("storyteller")).not.toBe(await continued("storyteller"));
});

test("what it cannot be told is refused", async () => {
  const { client } = serving;
  const say = (messages: Parameters<typeof client.chat.completions.create>[0]["messages"]) =>
    failure(client.chat.completions.create({ ...ASKED, model: "pirate", messages }));
  expect(await say([{ role: "system", content: "Be brief" }, user("Hi")])).toMatchObject({
    status: 400,
    param: "messages.0",
  });
  expect(await say([user("Hi"), { role: "assistant", content: "Hello" }])).toMatchObject({
    status: 400,
    param: "messages.1",
  });
  const tools = [{ type: "function" as const, function: { name: "f" } }];
  const asked = client.chat.completions.create({ ...ASKED, model: "pirate", messages: [user("Hi")], tools });
  expect(await failure(asked)).toMatchObject({ status: 400, param: "tools" });
});

test("the list of models says which one a request means that names none", async () => {
  const list = await (await fetch(`${serving.address}/v1/models`)).json();
  expect(list).toMatchObject({ object: "list", default: "pirate" });
});
