import { describe, expect, test } from "bun:test";
import { trainingPrompt } from "../commonsense-prompt.ts";
import { FAMILIES, readGolden } from "../testing/families.ts";
import { Tokenizer } from "../tokenizer.ts";
import { SampleEncoder } from "./encoder.ts";
import { markedText } from "./batch.ts";
import { BOS, encode, EOS, failure, load, plain, TOKENIZER } from "./testing/load.ts";

const NO_CONFIG = {
  bos_token: null,
  eos_token: null,
  pad_token: null,
  unk_token: null,
  add_bos_token: null,
  add_eos_token: null,
};

describe("what is supervised", () => {
  test("of a text: all but the first token, and the end of sequence", async () => {
    const ids = [BOS, ...plain("Lily was happy"), EOS];
    expect(await encode({ text: "Lily was happy" })).toEqual([ids, `0${"1".repeat(ids.length - 1)}`]);
  });

  test.each([
    ["Once upon", " a time"],
    ["2+2=", "4"],
    ["He sa", "id no"],
  ])(
    "of a completion: what holds a part of it, and the end, in the tokens of the whole text: %j %j",
    async (prompt, completion) => {
      const whole = plain(prompt + completion);
      const [ids, marks] = await encode({ prompt, completion });
      expect(ids).toEqual([BOS, ...whole, EOS]);
      const before = whole.findIndex(
        (_, at) => TOKENIZER.decode(whole.slice(0, at + 1)).trimStart().length > prompt.length,
      );
      expect(marks).toBe("0".repeat(1 + before) + "1".repeat(whole.length - before + 1));
    },
  );

  test.each(FAMILIES)("of a completion: its tokens are those of the whole text: %s", async (family) => {
    const tokenizer = new Tokenizer((await readGolden(family)).tokenizer, NO_CONFIG);
    const encoder = new SampleEncoder({
      tokenizer,
      template: undefined,
      endOfSequence: undefined,
      vocabularySize: Infinity,
    });
    const { ids, supervised } = encoder.encode({ kind: "completion", prompt: "2+2=", completion: "4" });
    expect(Array.from(ids)).toEqual(tokenizer.encode("2+2=4"));
    const trained = Array.from(ids).filter((_, at) => supervised[at] === 1);
    expect(tokenizer.decode(trained).trim()).toBe("4");
  });

  test("of a text or completion that the tokenizer ends itself: one end of sequence", async () => {
    const { tokenizer: file } = await readGolden("llama2");
    const tokenizer = new Tokenizer(file, { ...NO_CONFIG, eos_token: "</s>", add_eos_token: true });
    const endOfSequence = tokenizer.tokenToId("</s>");
    const encoder = new SampleEncoder({ tokenizer, template: undefined, endOfSequence, vocabularySize: Infinity });
    const { ids, supervised } = encoder.encode({ kind: "completion", prompt: "2+2=", completion: "4" });
    expect(Array.from(ids)).toEqual([...tokenizer.encode("2+2=4", { special: false }), endOfSequence ?? NaN]);
    expect(Array.from(supervised).slice(-2)).toEqual([1, 1]);
    expect(encoder.encode({ kind: "text", text: "2+2=4" }).ids).toEqual(ids);
  });

  test("of ShareGPT's conversations: as of the same messages", async () => {
    const conversations = [
      { from: "human", value: "hi" },
      { from: "gpt", value: "yes", weight: 0 },
      { from: "human", value: "x" },
      { from: "gpt", value: "no" },
    ];
    const messages = [
      { role: "system", content: "Be short." },
      { role: "user", content: "hi" },
      { role: "assistant", content: "yes", weight: 0 },
      { role: "user", content: "x" },
      { role: "assistant", content: "no" },
    ];
    expect(await encode({ system: "Be short.", conversations })).toEqual(await encode({ messages }));
    expect(await encode({ conversations })).toEqual(await encode({ messages: messages.slice(1) }));
    const others = { role: null, content: null };
    const mixed = conversations.map((message) => ({ ...message, ...others }));
    expect(await encode({ conversations: mixed })).toEqual(await encode({ conversations }));
    expect((await failure([{ conversations: "hi" }])).message).toContain('"conversations" is a string, not a list');
  });

  test("of a prompt and a completion in messages: the completion's turns alone", async () => {
    const prompt = [
      { role: "user", content: "hi" },
      { role: "assistant", content: "yes" },
      { role: "user", content: "x" },
    ];
    const completion = [{ role: "assistant", content: "no" }];
    const messages = [...prompt, ...completion];
    const unweighted = messages.map((message, i) => (i < 3 ? { ...message, weight: 0 } : message));
    expect(await encode({ prompt, completion })).toEqual(await encode({ messages: unweighted }));
    const options = { trainOnPrompt: true };
    expect(await encode({ prompt, completion }, options)).toEqual(await encode({ messages }, options));
    expect((await failure([{ prompt, completion: "no" }])).message).toContain('"prompt" is a list, not a text');
  });

  test("of a chat: the assistant's turns with their ends", async () => {
    const data = await load([
      {
        messages: [
          { role: "user", content: "hi" },
          { role: "assistant", content: "yes" },
          { role: "user", content: "x" },
        ],
      },
    ]);
    const parts = markedText(data.sample(0), TOKENIZER);
    expect(parts.map(({ text, supervised }) => [text, supervised])).toEqual([
      ["<s> user: hi</s><s> assistant:", false],
      [" yes</s>", true],
      ["<s> user: x</s>", false],
    ]);
    expect(parts.map(({ tokens }) => tokens).reduce((a, b) => a + b)).toBe(data.lengthOf(0));
  });

  test("of an instruction: the answer of a chat of two turns; of a completion without a template", async () => {
    const sample = { instruction: "Say it", input: "loudly", output: "It" };
    const chat = {
      messages: [
        { role: "user", content: "Say it\n\nloudly" },
        { role: "assistant", content: "It" },
      ],
    };
    expect(await encode(sample)).toEqual(await encode(chat));
    const completion = { prompt: "Say it\n\nloudly", completion: "It" };
    expect(await encode(sample, { template: undefined })).toEqual(await encode(completion));
    const bare = { prompt: "Say it", completion: "It" };
    expect(await encode({ ...sample, input: null }, { template: undefined })).toEqual(await encode(bare));
    expect(await encode({ ...sample, input: "" }, { template: undefined })).toEqual(await encode(bare));
  });

  test("with a prompt: the text that it makes of an instruction, whole, with one end of sequence", async () => {
    const sample = { instruction: "Is it?", input: "", output: "the correct answer is true", answer: "true" };
    const text = trainingPrompt(sample);
    const ids = [BOS, ...plain(text), EOS];
    const encoded = await encode(sample, { prompt: "commonsense" });
    expect(encoded).toEqual([ids.slice(0, 100), `0${"1".repeat(99)}`]);
    const whole = await load([sample, sample], { prompt: "commonsense", maxLength: 256 });
    expect([...whole.sample(1).ids]).toEqual(ids);
    expect(whole.totals).toMatchObject({ cut: 0, supervisedTokens: 2 * (ids.length - 1) });
    // A text that the tokenizer, or its writer, has ended already gets no second end.
    const ended = await load([{ ...sample, output: "yes</s>" }], { prompt: "commonsense", maxLength: 256 });
    expect([...ended.sample(0).ids].filter((id) => id === EOS)).toHaveLength(1);
    expect(await failure([{ text: "Once" }], { prompt: "commonsense" })).toMatchObject({
      code: "data",
      message: expect.stringContaining("d.jsonl: line 1: --prompt commonsense writes out"),
    });
  });

  test("with trainOnPrompt: all but the first token", async () => {
    const [ids, marks] = await encode({ prompt: "Once", completion: " upon" }, { trainOnPrompt: true });
    expect(marks).toBe(`0${"1".repeat(ids.length - 1)}`);
  });

  test("without an end of sequence nothing is appended", async () => {
    expect((await encode({ text: "a" }, { endOfSequence: undefined }))[0]).toEqual([BOS, ...plain("a")]);
  });

  test("one file may hold all kinds; fields of a completion count before messages, those before a text", async () => {
    const messages = [
      { role: "user", content: "b" },
      { role: "assistant", content: "c" },
    ];
    const all = { text: "a", messages, prompt: "d", completion: "e", other: 1 };
    const { prompt, completion, ...rest } = all;
    const data = await load([all, rest, { text: "a", messages: null }, { instruction: "f", output: "g", text: "a" }]);
    const written = Array.from({ length: data.length }, (_, i) => TOKENIZER.decode([...data.sample(i).ids]));
    expect([prompt, completion, ...written]).toEqual([
      "d",
      "e",
      "<s> de</s>",
      "<s> user: b</s><s> assistant: c</s>",
      "<s> a</s>",
      "<s> user: f</s><s> assistant: g</s>",
    ]);
  });
});

test("a turn of weight 0 is not trained on, not even with the prompts", async () => {
  const messages = [
    { role: "user", content: "a" },
    { role: "assistant", content: "no", weight: 0 },
    { role: "user", content: "b" },
    { role: "assistant", content: "yes", weight: 1 },
  ];
  const trained = async (trainOnPrompt: boolean) => {
    const data = await load([{ messages }], { trainOnPrompt });
    const parts = markedText(data.sample(0), TOKENIZER).filter(({ supervised }) => supervised);
    return parts.map(({ text }) => text);
  };
  expect(await trained(false)).toEqual([" yes</s>"]);
  const [before, behind] = await trained(true);
  expect([before?.endsWith("assistant:"), behind]).toEqual([true, "<s> user: b</s><s> assistant: yes</s>"]);
});
