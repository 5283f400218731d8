import { describe, expect, test } from "bun:test";
import { FAMILIES, familyTokenizer } from "../testing/families.ts";
import { Tokenizer } from "../tokenizer.ts";

const CONFIG = {
  bos_token: null,
  eos_token: null,
  pad_token: null,
  unk_token: null,
  add_bos_token: null,
  add_eos_token: null,
};
const MODEL = { type: "BPE", vocab: { a: 0, b: 1, " ": 2 }, merges: [] };

function tokenizer(parts: Readonly<Record<string, unknown>>): Tokenizer {
  return new Tokenizer({ model: MODEL, ...parts }, CONFIG, "model/tokenizer.json");
}

function split(regex: string): Readonly<Record<string, unknown>> {
  return { type: "Split", pattern: { Regex: regex }, behavior: "Isolated" };
}

describe("a regular expression that backtracks without end", () => {
  const special = [{ id: 3, content: "<s>", special: true }];

  test.each(["(a+)+$", "(a|a)*b", "(?:a*)*c", String.raw`(?=(a+)+b)a`, String.raw`^(\w+\s?)*$`])("%s", (regex) => {
    const text = Array.from({ length: 12 }, () => "a".repeat(40)).join("<s>b");
    const { length } = tokenizer({ added_tokens: special, pre_tokenizer: split(regex) }).encode(text);
    expect(length).toBe(12 * 40 + 2 * 11);
  });

  test("in a normalizer and a decoder", () => {
    const replace = { type: "Replace", pattern: { Regex: "(a+)+$" }, content: "b" };
    const both = tokenizer({
      normalizer: replace,
      decoder: { type: "Sequence", decoders: [{ type: "Fuse" }, replace] },
    });
    expect(both.decode(both.encode(`${"a".repeat(50)} `))).toBe(`${"a".repeat(50)} `);
    expect(both.encode("aaaa")).toEqual([1]);
  });

  test("one that takes too many steps even so is refused, with its file", () => {
    const slow = tokenizer({ pre_tokenizer: split(String.raw`(a*)\1*c`) });
    expect(() => slow.encode("a".repeat(20_000))).toThrow(
      expect.objectContaining({
        code: "model",
        message: String.raw`model/tokenizer.json: the regular expression "(a*)\\1*c" is not supported: it takes too many steps on a text`,
      }),
    );
  });
});

test.each(FAMILIES)("no text keeps the patterns of %s busy", async (family) => {
  const { length } = await familyTokenizer(family).then((one) =>
    [" ", "A", "a", "中", "A中", "中A", "Aa", "\u0301", " \n", "\n ", "!\n", "1", "'s", "\u01c5", "e\u0301 "]
      .map((unit) => one.encode(`${unit.repeat(4000)}~`))
      .filter((ids) => ids.length > 0),
  );
  expect(length).toBe(15);
});

describe("what may make a text longer without end", () => {
  const double = (content: string) => ({ type: "Replace", pattern: { String: "a" }, content });
  const chain = (inner: unknown) => ({
    normalizer: { type: "Sequence", normalizers: inner },
    decoder: { type: "Sequence", decoders: inner },
  });
  const alone = (part: unknown) => ({ normalizer: part, decoder: part });
  const long = /it may make a text more than 100 times as long$/;

  test.each([
    ["a chain that doubles", chain(Array.from({ length: 40 }, () => double("aa"))), long],
    ["an empty pattern", alone({ type: "Replace", pattern: { String: "" }, content: "x".repeat(1000) }), long],
    [
      "a pattern that matches nothing",
      alone({ type: "Replace", pattern: { Regex: "b*" }, content: "x".repeat(1000) }),
      long,
    ],
    ["a long text for a short one", alone(double("x".repeat(1000))), long],
    ["parts without number", chain(Array.from({ length: 1000 }, () => double("b"))), /it has more than 64 parts$/],
  ])("%s", (_, { normalizer, decoder }, message) => {
    expect(() => tokenizer({ normalizer })).toThrow(message);
    expect(() => tokenizer({ decoder })).toThrow(message);
  });

  test("Prepend", () => {
    expect(() => tokenizer({ normalizer: { type: "Prepend", prepend: "x".repeat(1000) } })).toThrow(long);
  });

  test("what real ones do is none of it", () => {
    const { normalizer } = chain([
      { type: "NFKD" },
      { type: "Lowercase" },
      { type: "Prepend", prepend: "▁" },
      { type: "Replace", pattern: { Regex: " {2,}" }, content: " " },
      { type: "Replace", pattern: { String: "\n" }, content: "<newline>" },
    ]);
    expect(tokenizer({ normalizer }).encode("A  B")).toEqual([0, 2, 1]);
  });

  test("a template that holds the text twice", () => {
    const single = [{ Sequence: { id: "A" } }, { Sequence: { id: "A" } }];
    const post_processor = { type: "TemplateProcessing", single, special_tokens: {} };
    expect(() => tokenizer({ post_processor })).toThrow("post_processor.single: holds the text more than once");
  });
});

describe("numbers that are too large", () => {
  test.each([
    ["", 1e300],
    ["a", 1e300],
    ["", 1],
    ["ab", 1],
    ["a", -1],
    ["a", 0.5],
  ])("Strip of %j, %p times", (content, start) => {
    expect(() => tokenizer({ decoder: { type: "Strip", content, start, stop: 0 } })).toThrow(
      /^decoder\.(content|start): /,
    );
  });

  test.each([1e300, 2 ** 40, -1, 0.5])("an id: %p", (id) => {
    expect(() => tokenizer({ model: { ...MODEL, vocab: { a: id } } })).toThrow(/^model\.vocab: /);
    expect(() => tokenizer({ added_tokens: [{ id, content: "<s>" }] })).toThrow(
      /^tokenizer\.json\.added_tokens\.0\.id: /,
    );
  });
});

test.each(["constructor", "__proto__", "toString"])("a special token called %s", (name) => {
  const single = [{ SpecialToken: { id: name } }, { Sequence: { id: "A" } }];
  const withTokens = (tokens: string) =>
    tokenizer({ post_processor: { type: "TemplateProcessing", single, special_tokens: JSON.parse(tokens) } });
  expect(() => withTokens("{}")).toThrow(`post_processor: '${name}' is not in special_tokens`);
  expect(withTokens(`{${JSON.stringify(name)}: {"ids": [7]}}`).encode("a")).toEqual([7, 0]);
});
