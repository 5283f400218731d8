import { expect, setDefaultTimeout, test } from "bun:test";
import { AdaptersForTests } from "./testing/adapters.ts";
import { failure } from "./testing/server.ts";

setDefaultTimeout(60_000);

const made = new AdaptersForTests({ raw: ["pirate"], list: { preferred: "pirate" } });

const user = (content: string) => ({ role: "user" as const, content });
const ASKED = { max_tokens: 12, temperature: 0 };

test("a model that was trained without the chat template continues the last message as it stands", async () => {
  const { client } = made.serving;
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
  const { client } = made.serving;
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
  const list = await (await fetch(`${made.serving.address}/v1/models`)).json();
  expect(list).toMatchObject({ object: "list", default: "pirate" });
});
