import { TemporaryFolder } from "../../files/testing/folder.ts";
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { ChatTemplate } from "./chat-template.ts";
import { HARMONY_MARKS } from "./harmony.ts";
import { endOfTurn, readEndOfSequence, readStopIds } from "./stop.ts";
import { familyTokenizer, FIXTURES, specialTokens } from "./testing/families.ts";

const CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
const qwen2 = await familyTokenizer("qwen2", { eos_token: "<|endoftext|>" });
const bare = await familyTokenizer("qwen2");
const IM_END = qwen2.tokenToId("<|im_end|>") ?? -1;
const END_OF_TEXT = qwen2.tokenToId("<|endoftext|>") ?? -1;

async function stopIds(files: Readonly<Record<string, unknown>>, tokenizer = bare, template?: ChatTemplate) {
  await using folder = await TemporaryFolder.with(files);
  return [...(await readStopIds(folder.path, tokenizer, template))];
}

describe("stop tokens", () => {
  test("come from generation_config.json, a number or a list", async () => {
    expect(await stopIds({ "generation_config.json": { eos_token_id: 7 } })).toEqual([7]);
    expect(await stopIds({ "generation_config.json": { eos_token_id: [7, 8] } })).toEqual([7, 8]);
  });

  test("come from config.json where that file says nothing", async () => {
    const config = { "config.json": { eos_token_id: [5] } };
    expect(await stopIds(config)).toEqual([5]);
    expect(await stopIds({ ...config, "generation_config.json": { eos_token_id: null } })).toEqual([5]);
    expect(await stopIds({ ...config, "generation_config.json": { eos_token_id: 6 } })).toEqual([6]);
  });

  test("include the tokenizer's end of sequence and the template's end of turn", async () => {
    const template = new ChatTemplate(CHATML, "t");
    expect(await stopIds({}, qwen2, template)).toEqual([END_OF_TEXT, IM_END]);
    expect(await stopIds({})).toEqual([]);
  });

  test("in the harmony format are <|return|> and <|call|>, and never <|end|>, whatever files say", async () => {
    const tokenizer = await familyTokenizer("qwen2", {}, specialTokens(HARMONY_MARKS));
    const id = (mark: string) => tokenizer.tokenToId(mark) ?? -1;
    const [end, call, back] = [id("<|end|>"), id("<|call|>"), id("<|return|>")];
    const source = await Bun.file(join(FIXTURES, "chat", "harmony.jinja")).text();
    const files = { "generation_config.json": { eos_token_id: [5, end] } };
    const ids = await stopIds(files, tokenizer, new ChatTemplate(source, "t"));
    expect(new Set(ids)).toEqual(new Set([5, call, back]));
    expect(await stopIds(files, tokenizer, new ChatTemplate(CHATML, "t"))).toContain(end);
    // Without the others nothing else would end an answer.
    const without = await familyTokenizer("qwen2", {}, specialTokens(HARMONY_MARKS.slice(0, 5)));
    expect(await stopIds(files, without, new ChatTemplate(source, "t"))).toContain(end);
  });

  test("must be numbers", async () => {
    await expect(stopIds({ "config.json": { eos_token_id: "</s>" } })).rejects.toThrow(
      "eos_token_id is neither a number nor a list of numbers",
    );
  });
});

describe("the end of a turn", () => {
  const end = (source: string) => endOfTurn(new ChatTemplate(source, "t"), qwen2.addedTokens)?.id;

  test("is the token behind an assistant's content", async () => {
    expect(end(CHATML)).toBe(IM_END);
    for (const name of ["chatml-tools", "reasoning", "generation"]) {
      const template = new ChatTemplate(await Bun.file(join(FIXTURES, "chat", `${name}.jinja`)).text(), name);
      expect(endOfTurn(template, qwen2.addedTokens)?.id).toBe(IM_END);
    }
  });

  test("is found behind white space, which training supervises with it", () => {
    for (const space of [" ", "\n"]) {
      expect(end(`{% for m in messages %}{{ m.content }}${space}<|im_end|>{% endfor %}`)).toBe(IM_END);
    }
  });

  test("is unknown where text follows, nothing follows, or the template refuses", () => {
    expect(end("{% for m in messages %}{{ m.content }} stop<|im_end|>{% endfor %}")).toBeUndefined();
    expect(end("{{ messages[-1].content }}")).toBeUndefined();
    expect(end("no messages")).toBeUndefined();
    expect(end("{{ raise_exception('no') }}")).toBeUndefined();
  });
});

test("training ends a sample with the tokenizer's end of sequence, else with config.json's first", async () => {
  await using folder = await TemporaryFolder.with({
    "config.json": { eos_token_id: [5, 6] },
    "generation_config.json": { eos_token_id: 9 },
  });
  expect(await readEndOfSequence(folder.path, qwen2)).toBe(END_OF_TEXT);
  expect(await readEndOfSequence(folder.path, bare)).toBe(5);
  await using empty = await TemporaryFolder.with({});
  expect(await readEndOfSequence(empty.path, bare)).toBeUndefined();
});
