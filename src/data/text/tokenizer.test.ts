import { TemporaryFolder } from "../../files/testing/folder.ts";
import { describe, expect, test } from "bun:test";
import { expectedStories, STORIES } from "../../../fixtures/stories/storyteller.ts";
import { FAMILIES, familyTokenizer, readGolden, readSamples } from "./testing/families.ts";
import { loadTokenizer } from "./load-tokenizer.ts";

const SAMPLES = await readSamples();
const { tokenizer: GOOD } = await readGolden("gpt2");

describe.each(FAMILIES)("%s", (family) => {
  test("gives the ids that Python's tokenizers gives", async () => {
    const tokenizer = await familyTokenizer(family);
    const { ids } = await readGolden(family);
    expect(SAMPLES.map((text) => tokenizer.encode(text))).toEqual(ids);
  });

  test("decodes ids that no text encodes to, with and without special tokens", async () => {
    const tokenizer = await familyTokenizer(family);
    for (const [ids, all, plain] of (await readGolden(family)).decoded) {
      expect(tokenizer.decode(ids)).toBe(all);
      expect(tokenizer.decode(ids, { skipSpecial: true })).toBe(plain);
    }
  });
});

test.each(["llama3", "gpt4o", "gpt2", "mistral"] as const)("%s takes every text there and back", async (family) => {
  const tokenizer = await familyTokenizer(family);
  const swallows = family === "gpt2" ? ["<mask>", "<trim>"] : []; // take the white space beside them along
  // A word-initial space and a leading ▁ are the same to sentencepiece.
  const kept = SAMPLES.filter((text) => !swallows.some((token) => text.includes(token))).filter(
    (text) => family !== "mistral" || (!text.includes("▁") && !/^ |<\/?s>|<unk>/.test(text)),
  );
  expect(kept.length).toBeGreaterThan(100);
  for (const text of kept) expect(tokenizer.decode(tokenizer.encode(text, { special: false }))).toBe(text);
});

describe("the storyteller", () => {
  test("gives the ids that transformers gave", async () => {
    const tokenizer = await loadTokenizer(STORIES);
    const texts = await expectedStories();
    expect(texts).not.toBeEmpty();
    for (const { text, ids, greedy_ids, greedy_text } of texts) {
      expect(tokenizer.encode(text)).toEqual(ids);
      expect(tokenizer.decode(greedy_ids)).toBe(greedy_text);
    }
  });

  test("knows its vocabulary", async () => {
    const tokenizer = await loadTokenizer(STORIES);
    expect(tokenizer.vocabSize).toBe(512);
    expect(tokenizer.bos).toEqual({ id: 1, text: "<s>" });
    expect(tokenizer.eos).toEqual({ id: 2, text: "</s>" });
    expect(tokenizer.pad).toBeUndefined();
    expect(tokenizer.tokenToId("<0x0A>")).toBe(13);
    expect(tokenizer.idToToken(495)).toBe("▁upon");
    expect(tokenizer.tokenToId("no such token")).toBeUndefined();
    expect(tokenizer.idToToken(512)).toBeUndefined();
    expect(tokenizer.addedTokens.map(({ content }) => content)).toEqual(["<unk>", "<s>", "</s>"]);
    expect([0, 1, 2, 3].map((id) => tokenizer.isSpecial(id))).toEqual([true, true, true, false]);
  });
});

describe("special tokens", () => {
  test("are left out on request, but not those that the text itself spells", async () => {
    const tokenizer = await familyTokenizer("llama2");
    expect(tokenizer.encode("a</s>", { special: false })).toEqual(tokenizer.encode("a</s>").slice(1));
    expect(tokenizer.encode("a</s>").at(-1)).toBe(tokenizer.tokenToId("</s>") ?? -1);
  });

  test("follow add_bos_token and add_eos_token where tokenizer_config.json says so", async () => {
    const names = { bos_token: "<s>", eos_token: { content: "</s>", lstrip: false } };
    const encode = async (config: Record<string, unknown>) =>
      (await familyTokenizer("llama2", { ...names, ...config })).encode("<unk>");
    expect(await encode({})).toEqual([1, 0]);
    expect(await encode({ add_bos_token: false })).toEqual([0]);
    expect(await encode({ add_eos_token: true })).toEqual([0, 2]);
    expect(await encode({ add_bos_token: true, add_eos_token: true })).toEqual([1, 0, 2]);
    const beginning = async (config: Record<string, unknown>) =>
      (await familyTokenizer("llama2", { ...names, ...config })).beginning;
    expect(await beginning({})).toBe(1);
    expect(await beginning({ add_bos_token: false })).toBeUndefined();
    expect(await beginning({ add_eos_token: true })).toBeUndefined();
  });
});

describe("encoding within a number of ids", () => {
  test.each(FAMILIES)("gives what encoding gives: %s", async (family) => {
    const tokenizer = await familyTokenizer(family);
    for (const text of SAMPLES) {
      const ids = tokenizer.encode(text);
      expect(await tokenizer.encodeWithin(text, ids.length)).toEqual(ids);
      if (ids.length > 0) expect(await tokenizer.encodeWithin(text, ids.length - 1)).toBeUndefined();
    }
    const plain = tokenizer.encode("a b", { special: false });
    expect(await tokenizer.encodeWithin("a b", plain.length, { special: false })).toEqual(plain);
  });

  test.each(FAMILIES)(
    "gives the same for a piece that is encoded by portions, beside another one: %s",
    async (family) => {
      const tokenizer = await familyTokenizer(family);
      // Characters of two units, so that some stand where a portion ends.
      const texts = ["a", "x😀", "hello", "漢字é", "1"].map((text) => text.repeat(20_000 / text.length));
      const ids = await Promise.all(texts.map((text) => tokenizer.encodeWithin(text, Infinity)));
      expect(ids).toEqual(texts.map((text) => tokenizer.encode(text)));
    },
  );

  test.each(["gpt2", "unigram"] as const)("leaves turns to others within a piece, too: %s", async (family) => {
    const tokenizer = await familyTokenizer(family);
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    await tokenizer.encodeWithin("ab".repeat(500_000), Infinity);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(1);
  });

  test("leaves turns to others, and gives a long text up", async () => {
    const tokenizer = await familyTokenizer("gpt2");
    const long = "some words, ".repeat(60_000);
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    expect(await tokenizer.encodeWithin(long, Infinity)).toEqual(tokenizer.encode(long));
    clearInterval(timer);
    expect(turns).toBeGreaterThan(1);
    expect(await tokenizer.encodeWithin(long, 512)).toBeUndefined();
    // One piece, whose ids are not counted but estimated.
    expect(await tokenizer.encodeWithin("x".repeat(100_000), 512)).toBeUndefined();
  });
});

test("a lone surrogate, which no file can hold, counts as U+FFFD", async () => {
  const tokenizer = await familyTokenizer("gpt2");
  expect(tokenizer.encode("a\ud83d")).toEqual(tokenizer.encode("a\ufffd"));
});

describe("a folder that will not do", () => {
  const failure = async (files: Readonly<Record<string, unknown>>) => {
    await using folder = await TemporaryFolder.with(files);
    return await loadTokenizer(folder.path).then(
      () => undefined,
      (error: unknown) => error,
    );
  };

  test("without tokenizer", async () => {
    expect(await failure({ "config.json": {} })).toMatchObject({
      code: "file",
      message: expect.stringMatching(/tokenizer\.json: no such file$/),
      hint: "MODEL must be a folder with a tokenizer",
    });
    expect(await failure({ "tekken.json": "{}" })).toMatchObject({
      hint: "tekken.json is not read: take a copy of the model in transformers' format, which has tokenizer.json",
    });
    expect(await failure({ "tokenizer.model": "" })).toMatchObject({
      hint: expect.stringMatching(/^tokenizer\.model alone is not enough/),
    });
    expect(await failure({ "run.json": { model: "org/base" } })).toMatchObject({
      hint: expect.stringMatching(/^it is a run: name org\/base as MODEL; .* --init-adapter /),
    });
    expect(await failure({ "adapter_config.json": {} })).toMatchObject({
      hint: expect.stringMatching(/ is an adapter: give the folder of its run, or its base as MODEL and --adapter /),
    });
  });

  test("with broken JSON", async () => {
    expect(await failure({ "tokenizer.json": '{"model": ' })).toMatchObject({
      code: "format",
      message: expect.stringMatching(/tokenizer\.json: not JSON: /),
    });
    expect(await failure({ "tokenizer.json": GOOD, "tokenizer_config.json": "[]" })).toMatchObject({
      code: "format",
      message: expect.stringMatching(/tokenizer_config\.json: not a JSON object$/),
    });
    expect(await failure({ "tokenizer.json": GOOD, "tokenizer_config.json": { eos_token: 7 } })).toMatchObject({
      code: "format",
      message: expect.stringMatching(/tokenizer_config\.json: eos_token: /),
    });
  });

  test.each([
    [{ model: { type: "WordPiece", vocab: {} } }, "the model type 'WordPiece' is not supported"],
    [{ normalizer: { type: "BertNormalizer" } }, "the normalizer type 'BertNormalizer' is not supported"],
    [
      { pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "UnicodeScripts" }] } },
      "the pre_tokenizer.pretokenizers.0 type 'UnicodeScripts' is not supported",
    ],
    [{ decoder: { type: "CTC" } }, "the decoder type 'CTC' is not supported"],
  ])("with the unsupported %j", async (change, message) => {
    expect(await failure({ "tokenizer.json": { ...GOOD, ...change } })).toMatchObject({
      code: "model",
      message: expect.stringMatching(new RegExp(`tokenizer\\.json: ${message}$`)),
    });
  });

  test("but one whose model does not tell its type, as GPT-2's, will", async () => {
    const model: object = Object.assign({}, GOOD.model, { type: undefined });
    expect(await failure({ "tokenizer.json": { ...GOOD, model } })).toBeUndefined();
    expect(await failure({ "tokenizer.json": { ...GOOD, model: { vocab: {} } } })).toMatchObject({ code: "model" });
  });

  test.each([
    [{ model: undefined }, /tokenizer\.json\.model: /],
    [{ model: { type: "BPE", vocab: { a: 0 }, merges: ["a b"] } }, /model\.merges: 'b' is not in the vocabulary$/],
    [{ model: { type: "BPE", vocab: { a: 0 }, merges: ["a"] } }, /model\.merges: 'a' is not a pair$/],
    [{ model: { type: "BPE", vocab: { a: "0" }, merges: [] } }, /model\.vocab: not an object of whole numbers$/],
    [{ added_tokens: [{ id: -1, content: "x" }] }, /tokenizer\.json\.added_tokens\.0\.id: /],
    [{ pre_tokenizer: { type: "Split", pattern: {}, behavior: "Isolated" } }, /pre_tokenizer\.pattern/],
  ])("with the malformed %j", async (change, message) => {
    expect(await failure({ "tokenizer.json": { ...GOOD, ...change } })).toMatchObject({
      code: "format",
      message: expect.stringMatching(message),
    });
  });
});
