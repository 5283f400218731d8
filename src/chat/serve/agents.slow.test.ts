import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type OpenAI from "openai";
import { isValid } from "../grammar/testing/schemas.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { loadWithTokens } from "../testing/harmony.ts";
import { ServedForTests } from "./testing/for-tests.ts";
import { failure, loadStoriesModel, loadToolsModel, serveStories, type TestServer } from "./testing/server.ts";

setDefaultTimeout(60_000);

/** More than the stories model was made for: what it writes makes no sense anyway. */
const CONTEXT = 2048;
const model = "storyteller";

const prompts = { system: undefined, templateVariables: {}, context: CONTEXT };
const served = new ServedForTests(loadToolsModel, { prompts, parallel: 8, queueLength: 1000 });

const WEATHER = {
  type: "function" as const,
  function: {
    name: "weather",
    description: "Tells the weather.",
    parameters: {
      type: "object",
      properties: { city: { enum: ["Rome", "Oslo"] }, days: { type: "integer", minimum: 1, maximum: 7 } },
      required: ["city"],
      additionalProperties: false,
    },
  },
};
const TIME = { type: "function" as const, function: { name: "time" } };

function checkCall(name: string, given: string): void {
  const value: unknown = JSON.parse(given);
  if (name === "time") expect(isValid(value, { type: "object" })).toBeTrue();
  else expect([name, isValid(value, WEATHER.function.parameters)]).toEqual(["weather", true]);
}

describe("tools", () => {
  test("are called three times in a streamed loop, each call by its schema, its result in the next prompt", async () => {
    const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: "user", content: "How is the weather?" }];
    let prompt = 0;
    for (let turn = 0; turn < 3; turn++) {
      const runner = served.client.chat.completions.stream({
        model,
        messages,
        tools: [WEATHER, TIME],
        tool_choice: "required",
        parallel_tool_calls: false,
        temperature: 2,
        max_tokens: 120,
        seed: turn,
        stream_options: { include_usage: true },
      });
      const { choices, usage } = await runner.finalChatCompletion();
      const [choice] = choices;
      expect(choice?.finish_reason).toBe("tool_calls");
      const [call, ...others] = choice?.message.tool_calls ?? [];
      expect(others).toEqual([]);
      if (call?.type !== "function" || choice === undefined) throw new Error("no call");
      expect(call.id).toMatch(/^\w{9}$/);
      checkCall(call.function.name, call.function.arguments);
      expect(usage?.prompt_tokens).toBeGreaterThan(prompt);
      prompt = usage?.prompt_tokens ?? 0;
      messages.push(choice.message, { role: "tool", tool_call_id: call.id, content: '{"sky": "blue"}' });
    }
    const { choices } = await served.client.chat.completions.create({ model, messages, tools: [TIME], max_tokens: 4 });
    expect(choices[0]?.finish_reason).toBe("length");
  });

  test("several at once, whole; a function that is named is the one that is called", async () => {
    const body = {
      model,
      messages: [{ role: "user" as const, content: "Hi" }],
      tools: [WEATHER, TIME],
      temperature: 2,
    };
    const called = async (seed: number) => {
      const { choices } = await served.client.chat.completions.create({
        ...body,
        tool_choice: "required",
        max_tokens: 250,
        seed,
      });
      const { message, finish_reason: reason } = choices[0] ?? {};
      expect([reason, message?.content]).toEqual(["tool_calls", null]);
      for (const call of message?.tool_calls ?? []) {
        if (call.type === "function") checkCall(call.function.name, call.function.arguments);
      }
      return message?.tool_calls?.length ?? 0;
    };
    expect(Math.max(...(await Promise.all([0, 1, 2, 3].map(called))))).toBeGreaterThan(1);
    const named = { type: "function" as const, function: { name: "time" } };
    const { choices } = await served.client.chat.completions.create({ ...body, tool_choice: named, max_tokens: 100 });
    expect(choices[0]?.message.tool_calls).toEqual([
      { id: expect.any(String), type: "function", function: { name: "time", arguments: expect.any(String) } },
    ]);
  });

  test("a strict function is obeyed or refused where the model decides; beside a format an answer is a call or follows that", async () => {
    await using folder = await TemporaryFolder.create();
    await using marked = await loadWithTokens(folder.path, ["<tool_call>", "</tool_call>"], "chatml-tools.jinja");
    await using opening = serveStories(marked);

    const ask = async (tool: object, extra: object, { client }: Pick<TestServer, "client"> = served) =>
      await client.chat.completions.create({
        model,
        messages: [{ role: "user", content: "Hi" }],
        tools: [{ ...WEATHER, function: { ...WEATHER.function, ...tool } }],
        max_tokens: 60,
        ...extra,
      });
    // What opens a call is made certain: then a call is all that can follow.
    const bias = { [marked.tokenizer.tokenToId("<tool_call>") ?? -1]: 60 };
    for (const seed of [0, 1]) {
      const { choices } = await ask({ strict: true }, { seed, logit_bias: bias, max_tokens: 200 }, opening);
      const { content, tool_calls: calls = [] } = choices[0]?.message ?? {};
      expect([content?.includes("<tool_call>") ?? false, calls.length > 0]).toEqual([false, true]);
      for (const call of calls) if (call.type === "function") checkCall(call.function.name, call.function.arguments);
    }
    const parameters = { type: "object", patternProperties: {} };
    const refused = await failure(ask({ strict: true, parameters }, {}));
    expect(refused).toMatchObject({ status: 400, param: "tools" });
    const text = '<tool_call>{"name": "time"}</tool_call>';
    const formatted = { json_schema: { const: text }, max_tokens: 200 };
    const said = await ask(
      {},
      { ...formatted, logit_bias: { [marked.tokenizer.tokenToId("<tool_call>") ?? -1]: -60 } },
      opening,
    );
    expect(said.choices[0]).toMatchObject({ finish_reason: "stop", message: { content: JSON.stringify(text) } });
    const { choices } = await ask({ strict: true }, { ...formatted, logit_bias: bias }, opening);
    expect(choices[0]).toMatchObject({ finish_reason: "tool_calls", message: { content: null } });
    for (const call of choices[0]?.message.tool_calls ?? []) {
      if (call.type === "function") checkCall(call.function.name, call.function.arguments);
    }
    // A grammar is of the whole answer.
    const own = await ask({}, { grammar: 'root ::= "yes"', logit_bias: bias }, opening);
    expect(own.choices[0]?.message.content).toBe("yes");
  });

  test("what cannot be done with them is refused by name", async () => {
    const ask = async (extra: object): Promise<unknown> =>
      await failure(
        served.client.chat.completions.create({ model, messages: [{ role: "user", content: "Hi" }], ...extra }),
      );
    expect(await ask({ tool_choice: "required" })).toMatchObject({ status: 400, param: "tool_choice" });
    expect(await ask({ tools: [TIME, TIME] })).toMatchObject({ status: 400, param: "tools.1.function.name" });
    const parameters = { type: "object", patternProperties: {} };
    const odd = { type: "function", function: { name: "odd", parameters } };
    expect(await ask({ tools: [odd], tool_choice: "required" })).toMatchObject({
      status: 400,
      param: "tools",
      message: expect.stringContaining('"patternProperties" is not supported'),
    });
    await using untold = await loadStoriesModel();
    await using plain = serveStories(untold);
    const asked = plain.client.chat.completions.create({
      model,
      messages: [{ role: "user", content: "Hi" }],
      tools: [TIME],
    });
    expect(await failure(asked)).toMatchObject({ status: 400, param: "tools" });
  });
});

test("logit_bias bans a token, and makes one certain", async () => {
  const ask = async (bias: Record<string, number>): Promise<string> => {
    const body = { model, prompt: "Once upon a time", max_tokens: 1, temperature: 0, logit_bias: bias };
    return (await served.client.completions.create(body)).choices[0]?.text ?? "";
  };
  const best = await ask({});
  const id = served.model.tokenizer.tokenToId("▁dog") ?? -1;
  expect(await ask({ [id]: 100 })).toBe("dog");
  const bestId = served.model.tokenizer.encode(`time ${best}`, { special: false }).at(-1) ?? -1;
  expect(await ask({ [bestId]: -100 })).not.toBe(best);
  const refused = await failure(ask({ "1": 101 }));
  expect(refused).toMatchObject({ status: 400, param: "logit_bias.1" });
  const unknown = await failure(ask({ 1_000_000: 1 }));
  expect(unknown).toMatchObject({
    status: 400,
    param: "logit_bias",
    message: expect.stringContaining("token 1000000"),
  });
});

test("an assistant's message goes on where it ends", async () => {
  const messages = [
    { role: "user" as const, content: "Tell me a story." },
    { role: "assistant" as const, content: "Once upon a time" },
  ];
  const whole = { model, messages, max_tokens: 8, temperature: 0 };
  const continuing = { ...whole, continue_final_message: true, add_generation_prompt: false };
  const { choices, usage } = await served.client.chat.completions.create(continuing);
  const template =
    served.model.template?.render({ messages: messages.slice(0, 1), addGenerationPrompt: true }).text ?? "";
  const prompt = served.model.tokenizer.encode(`${template}Once upon a time`, { special: false });
  const wanted = await served.client.completions.create({ model, prompt, max_tokens: 8, temperature: 0 });
  expect([choices[0]?.message.content, usage?.prompt_tokens]).toEqual([wanted.choices[0]?.text ?? "", prompt.length]);
  const wrong = { ...whole, messages: messages.slice(0, 1), continue_final_message: true };
  expect(await failure(served.client.chat.completions.create(wrong))).toMatchObject({
    param: "continue_final_message",
  });
});
