import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { laterSeed } from "../../compute/random/seed.ts";
import { DEFAULT_SAMPLING } from "../generation/sampling.ts";
import { ApiError } from "./api-error.ts";
import { readChatRequest } from "./chat-request.ts";
import { readCompletionRequest } from "./completion-request.ts";
import { DEFAULTS, refusal, said } from "./testing/refusals.ts";

const MESSAGES = [{ role: "user", content: "Hi" }];
const chat = (extra: object) => readChatRequest({ messages: MESSAGES, ...extra }, DEFAULTS);

const TOOL = { type: "function", function: { name: "f" } };

test("arguments of calls are no deeper than a body may be", () => {
  const calling = (text: string) => ({
    messages: [...MESSAGES, { role: "assistant", tool_calls: [{ function: { name: "f", arguments: text } }] }],
  });
  expect(refusal(() => chat(calling('{"a": [1]}')))).toBe("taken");
  expect(refusal(() => chat(calling("[".repeat(101) + "]".repeat(101))))).toEqual([
    400,
    "messages.tool_calls.function.arguments",
  ]);
});

describe("chat", () => {
  test("what is missing, or null, is the server's default", () => {
    const { settings, ...rest } = chat({ temperature: null, stop: null, max_tokens: null, tools: null, n: null });
    const { sampling, ...plain } = settings;
    expect(sampling).toEqual({
      ...DEFAULT_SAMPLING,
      convention: "openai",
      penaltyWindow: Number.MAX_SAFE_INTEGER,
      seed: expect.any(Number),
    });
    expect(plain).toEqual({
      model: undefined,
      maxTokens: 99,
      stops: [],
      choices: 1,
      topLogprobs: undefined,
      stream: false,
      includeUsage: false,
      user: "",
      biases: new Map(),
    });
    expect(rest).toEqual({
      messages: MESSAGES,
      templateVariables: {},
      grammar: undefined,
      grammarField: undefined,
      tools: undefined,
      continues: false,
    });
  });

  test("every parameter finds its place", () => {
    const request = chat({
      model: "m",
      max_tokens: 5,
      max_completion_tokens: 6,
      temperature: 0.5,
      top_p: 0.4,
      top_k: -1,
      min_p: 0.1,
      seed: 3,
      stop: "x",
      presence_penalty: 1,
      frequency_penalty: -1,
      repetition_penalty: 1.1,
      logprobs: true,
      stream: true,
      stream_options: { include_usage: true },
      user: "me",
      chat_template_kwargs: { enable_thinking: false },
    });
    expect(request.settings).toMatchObject({
      model: "m",
      maxTokens: 6,
      stops: ["x"],
      topLogprobs: 0,
      stream: true,
      user: "me",
    });
    expect(request.settings.includeUsage).toBeTrue();
    expect(request.templateVariables).toEqual({ enable_thinking: false });
    expect(request.settings.sampling).toEqual({
      ...DEFAULT_SAMPLING,
      convention: "openai",
      penaltyWindow: Number.MAX_SAFE_INTEGER,
      temperature: 0.5,
      topP: 0.4,
      topK: 0,
      minP: 0.1,
      seed: 3,
      presencePenalty: 1,
      frequencyPenalty: -1,
      repeatPenalty: 1.1,
    });
  });

  test("parts become lines, developers the system, and nothing an empty text", () => {
    const parts = [
      { type: "text", text: "a" },
      { type: "text", text: "b" },
    ];
    const messages = [
      { role: "developer", content: "x" },
      { role: "user", content: parts, name: "Tom" },
      { role: "assistant", content: null, tool_calls: [] },
    ];
    expect(chat({ messages }).messages).toEqual([
      { role: "system", content: "x" },
      { role: "user", content: "a\nb", name: "Tom" },
      { role: "assistant", content: "" },
    ]);
  });

  test("what other servers know, and what asks for nothing, is let be", () => {
    const idle = { n: 1, tools: [], tool_choice: "auto", response_format: { type: "text" }, logit_bias: {} };
    expect(refusal(() => chat({ ...idle, store: false, metadata: {}, some_new_field: null }))).toBe("taken");
    const answered = {
      role: "assistant",
      content: [{ type: "text", text: "a", annotations: [] }],
      refusal: null,
      annotations: [],
      parsed: null,
      tool_calls: [
        { index: 0, id: "a", type: "function", function: { name: "f", arguments: "{}", parsed_arguments: {} } },
      ],
    };
    const said = { messages: [...MESSAGES, answered], stream_options: { include_obfuscation: false, new_key: null } };
    expect(refusal(() => chat(said))).toBe("taken");
  });

  test("a strict function holds all calls where the model decides", () => {
    const strict = { type: "function", function: { name: "g", strict: true } };
    const tools = (extra: object) => {
      const { callable = [], isRequired } = chat({ tools: [TOOL, strict], ...extra }).tools ?? {};
      return [callable.map((tool) => tool.strict), isRequired];
    };
    expect([{}, { tool_choice: "auto" }, { tool_choice: "required" }, { tools: [TOOL] }].map(tools)).toEqual([
      [[false, true], false],
      [[false, true], false],
      [[false, true], true],
      [[false], false],
    ]);
  });

  test("no field changes what another one means", () => {
    const { seed: _, ...usual } = chat({}).settings.sampling;
    for (const [fields, more] of [
      [{ top_k: 4 }, { topK: 4 }],
      [{ min_p: 0 }, { minP: 0 }],
      [{ repeat_penalty: 2 }, { repeatPenalty: 2 }],
      [{ repeat_last_n: 7 }, { penaltyWindow: 7 }],
      [{ repeat_last_n: -1, top_p: 0.5 }, { topP: 0.5 }],
    ] as const) {
      expect(chat(fields).settings.sampling).toEqual({ ...usual, ...more, seed: expect.any(Number) });
    }
  });

  test("seeds are those of 64 bits, each with others after it", () => {
    const seeds = [2 ** 53, 2 ** 62, 2 ** 63].map((seed) => chat({ seed }).settings.sampling.seed);
    expect(new Set([...seeds, ...seeds.map((seed) => laterSeed(seed, 1))]).size).toBe(6);
    expect(seeds.every(Number.isSafeInteger)).toBe(true);
    expect(refusal(() => chat({ seed: 2 ** 65 }))).toEqual([400, "seed"]);
  });

  test.each<[object, string]>([
    [{ messages: undefined }, "messages"],
    [{ messages: [] }, "messages"],
    [{ messages: "Hi" }, "messages"],
    [{ messages: [{ role: "function", content: "x" }] }, "messages.0.role"],
    [{ messages: [{ role: "user", content: 5 }] }, "messages.0.content"],
    [{ messages: [{ role: "user", content: [{ type: "image_url" }] }] }, "messages.0.content.0"],
    [{ messages: [{ role: "user", content: [{ type: "text" }] }] }, "messages.0.content.0"],
    [{ messages: [{ role: "assistant", tool_calls: [{ id: "x" }] }] }, "messages.0.tool_calls.0.function"],
    [
      { messages: [{ role: "user", tool_calls: [{ function: { name: "f", arguments: "" } }] }] },
      "messages.0.tool_calls",
    ],
    [{ messages: Array.from({ length: 10_001 }, () => MESSAGES[0]) }, "messages"],
    [{ model: 5 }, "model"],
    [{ temperature: "hot" }, "temperature"],
    [{ temperature: -1 }, "temperature"],
    [{ top_p: 1.5 }, "top_p"],
    [{ top_k: 0.5 }, "top_k"],
    [{ min_p: -0.1 }, "min_p"],
    [{ seed: 1e300 }, "seed"],
    [{ repetition_penalty: 0 }, "repetition_penalty"],
    [{ max_tokens: 0 }, "max_tokens"],
    [{ max_tokens: 1.5 }, "max_tokens"],
    [{ max_completion_tokens: 0 }, "max_completion_tokens"],
    [{ stop: 5 }, "stop"],
    [{ stop: Array(17).fill("x") }, "stop"],
    [{ stream: "yes" }, "stream"],
    [{ stream_options: { include_usage: 1 } }, "stream_options.include_usage"],
    [{ stream_options: [] }, "stream_options"],
    [{ stream_options: { continuous_usage_stats: true } }, "stream_options.continuous_usage_stats"],
    [{ messages: [{ role: "user", content: "Hi", weight: 0 }] }, "messages.0.weight"],
    [{ messages: [{ role: "assistant", function_call: { name: "f" } }] }, "messages.0.function_call"],
    [{ messages: [{ role: "user", content: [{ type: "text", text: "a", lang: "en" }] }] }, "messages.0.content.0.lang"],
    [{ tools: [{ ...TOOL, cache: true }] }, "tools.0.cache"],
    [{ tools: [{ ...TOOL, function: { name: "f", schema: {} } }] }, "tools.0.function.schema"],
    [{ tools: [TOOL], tool_choice: { ...TOOL, mode: "auto" } }, "tool_choice.mode"],
    [{ tools: [TOOL], tool_choice: "any" }, "tool_choice"],
    [{ response_format: { type: "text", schema: {} } }, "response_format.schema"],
    [
      { response_format: { type: "json_schema", json_schema: { schema: {}, mode: 1 } } },
      "response_format.json_schema.mode",
    ],
    [{ chat_template_kwargs: ["x"] }, "chat_template_kwargs"],
    [{ logprobs: 3 }, "logprobs"],
    [{ top_logprobs: 3 }, "top_logprobs"],
    [{ logprobs: true, top_logprobs: 21 }, "top_logprobs"],
    [{ n: 0 }, "n"],
    [{ n: 129 }, "n"],
    [{ tools: [{}] }, "tools.0.type"],
    [{ tools: [{ type: "function", function: { name: "a b" } }] }, "tools.0.function.name"],
    [{ tool_choice: "required" }, "tool_choice"],
    [{ response_format: { type: "xml" } }, "response_format.type"],
    [{ response_format: { type: "json_schema" } }, "response_format.json_schema"],
    [{ response_format: { type: "json_schema", json_schema: { schema: { not: {} } } } }, "response_format"],
    [{ logit_bias: { five: 1 } }, "logit_bias.five"],
    [{ add_generation_prompt: false }, "add_generation_prompt"],
    [{ lora: [{ id: 0, scale: 1 }] }, "lora"],
    [{ guided_json: {} }, "guided_json"],
    [{ ignore_eos: true }, "ignore_eos"],
    [{ min_tokens: 5 }, "min_tokens"],
    [{ stop_token_ids: [5] }, "stop_token_ids"],
    [{ documents: [{ text: "x" }] }, "documents"],
    [{ some_new_field: 0 }, "some_new_field"],
    [{ toString: 1 }, "toString"],
    [{ chat_template_kwargs: { eos_token: "x" } }, "chat_template_kwargs.eos_token"],
    [{ user: 5 }, "user"],
  ])("%j is refused", (extra, param) => {
    expect(refusal(() => chat(extra))).toEqual([400, param]);
  });
});

test("logit_bias names so many tokens as can be added for each one of an answer", () => {
  const biases = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, id) => [id, 1]));
  expect(chat({ logit_bias: biases(10_000) }).settings.biases.size).toBe(10_000);
  expect(refusal(() => chat({ logit_bias: biases(10_001) }))).toEqual([400, "logit_bias"]);
});

test("an empty conversation is told so in words", () => {
  expect(() => chat({ messages: [] })).toThrow("messages: there is none");
});

test("whatever JSON comes, it is taken or refused in OpenAI's shape, and briefly", () => {
  const names = ["messages", "prompt", "temperature", "stop", "seed", "logprobs", "stream_options", "tools", "n"];
  const body = fc.oneof(fc.jsonValue(), fc.dictionary(fc.constantFrom(...names), fc.jsonValue()));
  fc.assert(
    fc.property(body, (value) => {
      for (const read of [readChatRequest, readCompletionRequest]) {
        try {
          read(value, DEFAULTS);
        } catch (error) {
          if (!(error instanceof ApiError)) throw error;
          expect(error.status).toBe(400);
          expect(error.message.length).toBeLessThan(400);
        }
      }
    }),
    { numRuns: 300 },
  );
});

describe("what is wrong is said in words, not in a validator's", () => {
  test.each([
    [{ messages: undefined }, "messages: is missing"],
    [{ messages: 3 }, "messages: must be a list, not 3"],
    [{ messages: [] }, "messages: there is none"],
    [{ messages: [3] }, "messages.0: must be an object, not 3"],
    [{ messages: [{}] }, "messages.0.role: is missing"],
    [
      { messages: [{ role: "u" }] },
      'messages.0.role: must be "system", "developer", "user", "assistant" or "tool", not "u"',
    ],
    [{ messages: [{ role: "user", content: {} }] }, "messages.0.content: must be a string or a list, not an object"],
    [{ temperature: -1 }, "temperature: must be at least 0, not -1"],
    [{ temperature: "a" }, 'temperature: must be a number, not "a"'],
    [{ n: 1.5 }, "n: must be a whole number, not 1.5"],
    [{ n: 1000 }, "n: must be at most 128, not 1000"],
    [{ repeat_penalty: 0 }, "repeat_penalty: must be more than 0, not 0"],
    [{ stop: Array.from({ length: 20 }, () => "a") }, "stop: has 20 items, and 16 are allowed"],
    [{ stream: 1 }, "stream: must be true or false, not 1"],
    [{ stream_options: [] }, "stream_options: must be an object, not a list"],
    [{ temperature: Infinity }, "temperature: must be at most 2, not Infinity"],
    [{ chat_template_kwargs: 3 }, "chat_template_kwargs: must be an object, not 3"],
  ])("%p", (extra, message) => {
    expect(said(() => chat(extra))).toBe(message);
  });
});
