import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { ChatTemplate } from "../../data/text/chat-template.ts";
import { DEFAULT_SAMPLING } from "../generation/sampling.ts";
import type { LanguageModel } from "../language-model.ts";
import { readChatRequest } from "./chat-request.ts";
import { readCompletionRequest } from "./completion-request.ts";
import { chatPrompt, completionPrompts, rawChatPrompt } from "./prompt.ts";
import { RequestReader } from "./request-reader.ts";
import { failure, loadStoriesModel, serveStories } from "./testing/server.ts";

setDefaultTimeout(60_000);

let model: LanguageModel;
beforeAll(async () => {
  model = await loadStoriesModel();
}, 120_000);
afterAll(async () => {
  await model[Symbol.asyncDispose]();
});

const user = (content: string) => [{ role: "user" as const, content }];

test("what the tokenizer has and the model has not is refused as the client's text, not as the server's failure", async () => {
  const { tokenizer, template } = model;
  const small = { tokenizer, template, decoder: { config: { vocabularySize: 300 } } };
  const options = { system: undefined, templateVariables: {}, context: 512 };
  const defaults = { sampling: DEFAULT_SAMPLING, maxTokens: undefined };
  const [text, messages] = ["Once upon a time", user("Once upon a time")];
  const refused = { status: 400, message: expect.stringContaining("beyond the model's vocabulary of 300") };
  expect(await failure(chatPrompt(small, readChatRequest({ messages }, defaults), options))).toMatchObject(refused);
  expect(
    await failure(completionPrompts(small, readCompletionRequest({ prompt: text }, defaults), options)),
  ).toMatchObject(refused);
});

test("control tokens spelled in messages are plain text; in a completion's prompt they are what they are", async () => {
  const defaults = { sampling: DEFAULT_SAMPLING, maxTokens: undefined };
  const options = { system: undefined, templateVariables: {}, context: 512 };
  const end = model.tokenizer.tokenToId("</s>") ?? -1;
  const asked = readChatRequest({ messages: user("One</s> day </s>") }, defaults);
  const { ids } = await chatPrompt(model, asked, options);
  expect(ids).not.toContain(end);
  expect(model.tokenizer.decode(ids)).toBe("One</s> day </s>");
  const [raw] = await completionPrompts(model, readCompletionRequest({ prompt: "One</s>" }, defaults), options);
  expect(raw?.at(-1)).toBe(end);
});

test("whatever a tokenizer has as special tokens, no request sets them", async () => {
  const template = new ChatTemplate("{{ cls_token }}{{ messages }}", "test.jinja", { cls_token: "<s>" });
  const asked = { messages: user("Hi"), chat_template_kwargs: { cls_token: "x" } };
  const request = readChatRequest(asked, { sampling: DEFAULT_SAMPLING, maxTokens: undefined });
  const options = { system: undefined, templateVariables: {}, context: 512 };
  const refused = failure(
    chatPrompt({ tokenizer: model.tokenizer, decoder: model.decoder, template }, request, options),
  );
  expect(await refused).toMatchObject({ status: 400, message: "chat_template_kwargs.cls_token: is set by the server" });
});

test("how much to think is asked of templates that know it, and of no model that was trained without one", async () => {
  const request = readChatRequest(
    { messages: user("Hi"), reasoning_effort: "low" },
    { sampling: DEFAULT_SAMPLING, maxTokens: undefined },
  );
  const options = { system: undefined, templateVariables: {}, context: 512 };
  const refused = { status: 400, message: expect.stringMatching(/^reasoning_effort: /) };
  expect(await failure(chatPrompt(model, request, options))).toMatchObject(refused);
  expect(await failure(rawChatPrompt(model, request, options))).toMatchObject(refused);
});

test("the context is respected: a longer prompt is refused, an answer ends there", async () => {
  const prompts = { system: "Be kind.", templateVariables: {}, context: 40 };
  await using small = serveStories(model, { prompts });
  const messages = user("word ".repeat(60));
  const long = await failure(small.client.chat.completions.create({ model: "storyteller", messages }));
  expect(long).toMatchObject({ status: 400, code: "context_length_exceeded", param: "messages" });
  const { choices, usage } = await small.client.chat.completions.create({
    model: "storyteller",
    messages: user("Once upon a time"),
  });
  expect(choices[0]?.finish_reason).toBe("length");
  expect(usage?.total_tokens).toBe(40);
  // The system message of the command line stands before the conversation, unless that has one.
  const own = await small.client.chat.completions.create({
    model: "storyteller",
    messages: [{ role: "developer", content: "" }, ...user("Once upon a time")],
  });
  expect(own.usage?.prompt_tokens).toBeLessThan(usage?.prompt_tokens ?? 0);
});

test("tools that a template cannot show are refused with why, and the flag that helps", async () => {
  const options = { system: undefined, templateVariables: {}, context: 512 };
  const tools = [{ type: "function", function: { name: "f" } }];
  const asked = readChatRequest({ messages: user("Hi"), tools }, { sampling: {}, maxTokens: undefined });
  for (const [source, why] of [
    ["{{ messages[0].content }}", "has no place for tools: start the server with --chat-template FILE"],
    ["{{ tools }}<tool_call>f<arg_key>", "is not known (known: Hermes, Qwen; Mistral;"],
  ] as const) {
    const template = new ChatTemplate(source, "chat_template.jinja", {});
    const refused = failure(
      chatPrompt({ decoder: model.decoder, tokenizer: model.tokenizer, template }, asked, options),
    );
    expect(await refused).toMatchObject({ status: 400, message: expect.stringContaining(why) });
  }
});

test("a request with tools takes the template for tools, in the reader's process as well", async () => {
  const source = "{% for m in messages %}{{ m.content }}{% endfor %}";
  const toolUse = { source: `<tool_call>{{ tools | length }}${source}`, origin: "/own/tool_use.jinja" };
  const template = new ChatTemplate(source, "/own/chat_template.jinja", {}, toolUse);
  const prompts = { system: undefined, templateVariables: {}, context: 512 };
  const defaults = { sampling: DEFAULT_SAMPLING, maxTokens: undefined };
  const asked = { folder: model.folder, template, decoder: model.decoder };
  using reader = new RequestReader(asked, { prompts, defaults, onFailure: () => undefined });
  const tools = [{ type: "function", function: { name: "f", parameters: { type: "object" } } }];
  const textOf = async (body: object) =>
    JSON.parse((await reader.ask({ kind: "template", body: Buffer.from(JSON.stringify(body)) }, "json")).json);
  expect(await textOf({ messages: user("Hi") })).toEqual({ prompt: "Hi" });
  expect(await textOf({ messages: user("Hi"), tools })).toEqual({ prompt: "<tool_call>1Hi" });
  const broken = new ChatTemplate(source, "t.jinja", {}, { source: "<tool_call>{% if %}", origin: "tool_use.jinja" });
  const request = readChatRequest({ messages: user("Hi"), tools }, defaults);
  const refused = failure(
    chatPrompt({ tokenizer: model.tokenizer, decoder: model.decoder, template: broken }, request, prompts),
  );
  expect(await refused).toMatchObject({ status: 400, message: expect.stringContaining("tool_use.jinja: line 1") });
});
