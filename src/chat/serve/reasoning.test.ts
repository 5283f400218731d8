import { expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { TEST_DEVICE } from "../../compute/device/testing/open.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { ReplyText } from "../generation/reply.ts";
import { LanguageModel } from "../language-model.ts";
import type { MessageParserOptions } from "../tools/message-parser.ts";
import { ChoiceParts } from "./answer-text.ts";
import { ServedForTests } from "./testing/for-tests.ts";

/** A model whose answers begin with thoughts, which have no end. */
const served = new ServedForTests(async () => {
  await using folder = await TemporaryFolder.create();
  const templateFile = folder.at("template.jinja");
  await writeFile(templateFile, "{{ messages[0].content }}{% if add_generation_prompt %}<think>\n{% endif %}");
  const location = { folder: STORIES, weights: undefined };
  return await LanguageModel.load({ location, device: TEST_DEVICE, templateFile });
});

test("tokens of thoughts are counted, of all texts, whole and streamed", async () => {
  const { client } = served;
  const body = { model: "storyteller", messages: [{ role: "user" as const, content: "Once" }], max_tokens: 9, n: 2 };
  const whole = await client.chat.completions.create(body);
  expect(whole.choices[0]?.message).toMatchObject({ content: "", reasoning_content: expect.stringMatching(/./) });
  expect(whole.usage).toMatchObject({ completion_tokens: 18, completion_tokens_details: { reasoning_tokens: 18 } });
  const options = { stream: true, stream_options: { include_usage: true } } as const;
  const usages = [];
  for await (const { usage } of await client.chat.completions.create({ ...body, ...options })) usages.push(usage);
  expect(usages.at(-1)).toMatchObject({ completion_tokens_details: { reasoning_tokens: 18 } });
  const asked = { model: "storyteller", input: "Once", max_output_tokens: 7 };
  const thought = { output_tokens: 7, output_tokens_details: { reasoning_tokens: 7 } };
  expect((await client.responses.create(asked)).usage).toMatchObject(thought);
  const events = [];
  for await (const event of await client.responses.create({ ...asked, stream: true })) events.push(event);
  expect(events.at(-1)).toMatchObject({ type: "response.incomplete", response: { usage: thought } });
  const { usage } = await client.completions.create({ model: "storyteller", prompt: "Once", max_tokens: 3 });
  expect(usage).toMatchObject({ completion_tokens: 3, completion_tokens_details: { reasoning_tokens: 0 } });
});

test.each<[MessageParserOptions["thinking"], readonly string[], number]>([
  ["maybe", ["<think>", "so it is, 🙂", "</think>", "Yes."], 1],
  ["maybe", ["<think>", "never done"], 1],
  ["open", ["so it is", "</think>", "Yes."], 0],
  ["open", ["</think>", "Yes."], -1],
  ["maybe", ["Yes <think>", "so", "</think>"], -1],
  [undefined, ["<think>", "so", "</think>", "Yes."], -1],
])("%s %j: the tokens between the marks", (thinking, texts, thoughts) => {
  const { tokenizer } = served.model;
  // Without the space that the tokenizer puts before a text, which would be part of what was thought.
  const space = tokenizer.tokenToId("▁");
  const ids = texts.map((text) => tokenizer.encode(text, { special: false }).filter((id) => id !== space));
  const reply = new ReplyText(tokenizer, ["</the end"]);
  const parts = new ChoiceParts({ thinking }, false);
  for (const id of ids.flat()) {
    reply.push(id);
    parts.push({ text: reply.takeNew(), tokens: undefined });
  }
  reply.finish();
  parts.push({ text: reply.takeNew(), tokens: undefined });
  parts.end();
  expect(parts.reasoningTokens(reply.offsets)).toBe(ids[thoughts]?.length ?? 0);
});
