import { TemporaryFolder } from "../../../files/testing/folder.ts";
import { describe, expect, test, spyOn } from "bun:test";
import { ChatTemplate } from "../chat-template.ts";
import { loadDataSet, loadTrainingData, sayUnknownRoles } from "./load.ts";
import { BOS, failure, load, OPTIONS, plain, TOKENIZER } from "./testing/load.ts";

test("a template that writes a date is told the same one on whatever day a file is written and read", async () => {
  const template = new ChatTemplate(
    "{{ strftime_now('%Y') }}{% for m in messages %}{{ m.content }}{% endfor %}",
    "t.jinja",
  );
  await using folder = await TemporaryFolder.with({ "d.jsonl": [{ messages: [{ role: "assistant", content: "a" }] }] });
  const data = await loadDataSet([folder.at("d.jsonl")], { ...OPTIONS, template });
  expect(TOKENIZER.decode([...data.sample(0).ids])).toContain("2024");
});

describe("cutting and dropping", () => {
  test("cut on the right, after the end was appended; without targets left a sample is dropped; both are counted", async () => {
    const prompt = "Once upon a time there was";
    const room = 1 + plain(prompt).length;
    const data = await load(
      [
        { prompt: "a", completion: "b" },
        { prompt, completion: " a" },
        { text: prompt },
        { prompt, completion: " a dog" },
      ],
      { maxLength: room },
    );
    expect(data.totals).toMatchObject({ samples: 2, cut: 3, dropped: 2, longest: room });
    expect([0, 1].map((i) => data.sample(i).line)).toEqual([1, 3]);
    expect([...data.sample(1).ids]).toEqual([BOS, ...plain(prompt)]);
    expect(data.totals.tokens).toBe(data.lengthOf(0) + data.lengthOf(1));
    expect(data.totals.supervisedTokens).toBe(data.supervisedOf(0) + data.supervisedOf(1));
  });

  test("a sample of exactly the maximum is not cut", async () => {
    const text = "Once upon a time";
    const length = 2 + plain(text).length;
    expect((await load([{ text }], { maxLength: length })).totals).toMatchObject({ cut: 0, longest: length });
    expect((await load([{ text }], { maxLength: length - 1 })).totals).toMatchObject({ cut: 1, longest: length - 1 });
  });

  test("no supervised tokens at all are an error that says why", async () => {
    expect(await failure([{ messages: [{ role: "user", content: "a" }] }])).toMatchObject({
      code: "data",
      message: "d.jsonl: none of its 1 samples has supervised tokens",
    });
    const long = { prompt: "Once upon a time", completion: "x" };
    const error = await failure([long, long], { maxLength: 2 });
    expect(error.message).toBe("d.jsonl: none of its 2 samples has supervised tokens (2 were cut)");
    expect(error.hint).toContain("--max-length");
  });
});

test("validation data that are the training data in another format are refused", async () => {
  const texts = [{ text: "Once" }, { text: "upon" }];
  await using folder = await TemporaryFolder.with({
    "train.jsonl": texts,
    "same.json": JSON.stringify(texts, undefined, 2),
    "other.json": JSON.stringify(texts.toReversed()),
  });
  const choose = (valid: string) => ({ data: folder.at("train.jsonl"), valid: folder.at(valid) });
  await expect(loadTrainingData(choose("same.json"), { ...OPTIONS, seed: 0n })).rejects.toThrow(
    "same.json holds the same as the training file",
  );
  expect((await loadTrainingData(choose("other.json"), { ...OPTIONS, seed: 0n })).valid?.length).toBe(2);
});

describe("what is wrong with a file is said with its line", () => {
  test("empty", async () => {
    for (const content of ["", "\n  \n", "[]"]) {
      expect((await failure(content)).message).toBe("d.jsonl: no samples in this file");
    }
  });

  test("missing fields: which were found, and which kinds are known", async () => {
    const error = await failure([{ text: "a" }, { question: "b", answer: null }]);
    expect(error.message).toBe(
      'd.jsonl: line 2: not a sample of a known kind: its fields are "question", "answer" (null)',
    );
    expect(error.hint).toContain(
      "{text}, {prompt, completion}, {messages}, {conversations} and {instruction, input, output}",
    );
    expect((await failure([{}])).message).toBe("d.jsonl: line 1: not a sample of a known kind: it has no fields");
    expect((await failure([{ prompt: "a" }])).message).toContain('its fields are "prompt"');
  });

  test.each([
    [{ text: 7 }, '"text" is a number, not a text'],
    [{ prompt: ["a"], completion: "b" }, '"prompt" is a list, not a text'],
    [{ messages: "hi" }, '"messages" is a string, not a list'],
    [{ messages: [] }, '"messages" is empty'],
    [{ messages: ["hi"] }, "message 1 is a string, not an object with role and content"],
    [{ messages: [{ from: "human", value: "x" }] }, 'message 1 has no role; its fields are "from", "value"'],
    [{ messages: [{ role: "user", content: null }] }, "message 1 has no content"],
    [{ conversations: "hi" }, '"conversations" is a string, not a list'],
    [{ conversations: [] }, '"conversations" is empty'],
    [{ conversations: ["hi"] }, "message 1 is a string, not an object with from and value"],
    [{ system: "x", conversations: [{ value: "x" }] }, 'message 1 has no from; its fields are "value"'],
    [{ conversations: [{ from: "human", value: null }] }, "message 1 has no value"],
    [{ conversations: [{ from: "gpt", value: 1 }] }, 'message 1: "value" is a number, not a text'],
    [{ messages: [{ role: "user", content: 3 }] }, 'message 1: "content" is a number, not a text'],
    [{ messages: [{ role: "user", content: "a" }], tools: "[" }, '"tools" is a text that is not JSON'],
    [{ messages: [{ role: "user", content: "a" }], tools: { a: 1 } }, '"tools" is an object, not a list'],
  ])("%j", async (sample, problem) => {
    expect((await failure([{ text: "a" }, sample])).message).toBe(`d.jsonl: line 2: ${problem}`);
  });

  test("a chat without a template, or refused by it", async () => {
    const chat = {
      messages: [
        { role: "user", content: "a" },
        { role: "assistant", content: "b" },
      ],
    };
    expect((await failure([chat], { template: undefined })).message).toBe(
      'd.jsonl: line 1: "messages" need a chat template, and the model has none',
    );
    const strict = new ChatTemplate("{{ raise_exception('no') }}", "t.jinja");
    expect(await failure([chat], { template: strict })).toMatchObject({
      code: "data",
      message: "d.jsonl: line 1: t.jinja: line 1 of the chat template: no",
    });
  });

  test("token ids that the model does not have", async () => {
    const wrong = TOKENIZER.tokenToId("ra") ?? 0;
    expect(wrong).toBeGreaterThan(400);
    expect((await failure([{ text: "a" }, { text: "zebra" }], { vocabularySize: 400, endOfSequence: 2 })).message).toBe(
      `d.jsonl: line 2: token ${wrong} ("ra") is beyond the model's vocabulary of 400`,
    );
  });

  test("a length that leaves nothing to predict", async () => {
    expect(await failure([{ text: "a" }], { maxLength: 1 })).toMatchObject({ code: "usage" });
  });
});

test("how samples were written out is known; with a chat among them it is the chat template", async () => {
  const messages = [
    { role: "user", content: "a" },
    { role: "assistant", content: "b" },
  ];
  const completion = { prompt: "a", completion: "b" };
  const formats = [
    [[{ text: "a" }], "text"],
    [[{ text: "a" }, completion], "completion"],
    [[{ text: "a" }, completion, { messages }], "chat"],
    [[{ instruction: "a", output: "b" }], "chat"],
  ] as const;
  for (const [samples, format] of formats) expect((await load(samples)).format).toBe(format);
  const instruction = [{ instruction: "a", output: "b" }];
  expect((await load(instruction, { template: undefined })).format).toBe("completion");
  expect((await load(instruction, { prompt: "commonsense" })).format).toBe("text");
});

test("roles that no chat has are named", async () => {
  const chat = (role: string, answer: string) => ({
    messages: [
      { role, content: "a" },
      { role: answer, content: "b" },
    ],
  });
  const known = [chat("user", "assistant"), chat("developer", "assistant"), chat("tool", "assistant")];
  const { totals } = await load([...known, chat("human", "gpt")]);
  expect(totals).toMatchObject({ samples: 3, dropped: 1, unknownRoles: ["human", "gpt"] });
  expect((await load(known)).totals.unknownRoles).toEqual([]);
  expect((await failure([chat("human", "gpt")])).hint).toContain(
    'messages of the role "human", "gpt" are not trained on',
  );
  const many = Array.from({ length: 99 }, (_, i) => chat(`${i}${"x".repeat(60)}`, "assistant"));
  const { unknownRoles } = (await load(many, { maxLength: 400 })).totals;
  expect([unknownRoles.length, unknownRoles[0]?.length]).toEqual([9, 40]);
  expect(sayUnknownRoles({ unknownRoles })).toMatch(/"7x+", others are not trained on/);
});

test("a template that fails without tools, or with none of them, is asked for the ends of turns with those of the data", async () => {
  const named = "{{ tools[0].name.upper() }}{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}";
  const messages = [
    { role: "user", content: "a" },
    { role: "assistant", content: "b" },
  ];
  const data = await load([{ messages, tools: [{ name: "f" }] }], { template: new ChatTemplate(named, "t.jinja") });
  expect(data.supervisedOf(0)).toBe(2);
});

test("a template is not asked anything by data that are no chats", async () => {
  const template = new ChatTemplate("", "t.jinja");
  const asked = spyOn(template, "render");
  await load([{ text: "a" }, { prompt: "a", completion: "b" }], { template });
  expect(asked).not.toHaveBeenCalled();
});

test("samples with tools are rendered by the template for tools, and its turns are found", async () => {
  const source = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}";
  // Without tools it fails.
  const count = "{{ tools|length }}";
  const ask = "{% if add_generation_prompt %}<s>assistant: {% endif %}";
  const ofTools =
    count + source.replaceAll("role }}:", "role }} tools:") + ask.replace("assistant:", "assistant tools:");
  const template = new ChatTemplate(source + ask, "t.jinja", {}, { source: ofTools, origin: "tool_use.jinja" });
  const messages = [
    { role: "user", content: "a" },
    { role: "assistant", content: "b" },
  ];
  const data = await load([{ messages }, { messages, tools: [{ name: "f" }] }], { template });
  const texts = [0, 1].map((i) => TOKENIZER.decode([...data.sample(i).ids]));
  expect(texts[1]).toContain("tools:");
  expect(texts[0]).not.toContain("tools:");
  // "b" and the end of the turn.
  expect([data.supervisedOf(0), data.supervisedOf(1)]).toEqual([2, 2]);
});
