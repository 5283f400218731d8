import { expect, test } from "bun:test";
import type { GgufMetadata, GgufValue } from "../../../files/gguf/format.ts";
import { GgufFields } from "../../../files/gguf/metadata.ts";
import { refusalOf, TemporaryFolder } from "../../../files/testing/folder.ts";
import { loadChatTemplate } from "../chat-template.ts";
import { loadTokenizer } from "../load-tokenizer.ts";
import { type Family, readGolden, readSamples } from "../testing/families.ts";
import { TOKEN_KINDS } from "./kinds.ts";
import { tokenizerFiles } from "./tokenizer-files.ts";
import { tokenizerMetadata } from "./tokenizer-metadata.ts";
import { mergesOfScores } from "./vocabulary.ts";

const CONFIG = { chat_template: "{{ messages[0].content }}" };

async function metadataOf(family: Family, config: object = {}, merged = false): Promise<GgufMetadata> {
  const { tokenizer } = await readGolden(family);
  await using folder = await TemporaryFolder.with({
    "tokenizer.json": tokenizer,
    "tokenizer_config.json": { ...CONFIG, ...config },
  });
  return await tokenizerMetadata(folder.path, { size: 544, merged, ids: {} });
}

async function readBack(metadata: GgufMetadata) {
  await using folder = await TemporaryFolder.with({ ...tokenizerFiles(metadata, "x.gguf") });
  return { tokenizer: await loadTokenizer(folder.path), template: await loadChatTemplate(folder.path) };
}

/** Samples that GGUF has no words for, and which llama.cpp, too, gives other ids than the family's tokenizer.json. */
const UNSAID: Readonly<Partial<Record<Family, RegExp>>> = {
  // Added tokens that take the white space before them along; llama.cpp knows Phi 3's, which take that behind them, by name.
  gpt2: /<mask>|<trim>/,
  phi3: /<pad>/,
  // Added tokens that are looked for in the normalized text.
  llama2: /<pad>/,
  // A tokenizer that writes "▁▁" for an added token and has no such token for two blanks.
  gemma: /  |▁▁/,
  // "first" puts a blank before the first word alone, and only where there is none.
  mistral: /^[ ▁]|<s>/,
};

test.each<[Family, merged: boolean]>([
  ["gpt2", false],
  ["llama3", false],
  ["qwen2", false],
  ["gpt4o", false],
  ["gemma", false],
  ["gemma", true],
  ["llama2", false],
  ["mistral", false],
  ["phi3", false],
])("%s gives the ids, and the texts, that its tokenizer.json gives", async (family, merged) => {
  const name = { kind: "string", value: family === "phi3" ? "a Phi-3" : "x" } as const;
  const { tokenizer, template } = await readBack(
    new Map([...(await metadataOf(family, {}, merged)), ["general.name", name]]),
  );
  const { ids, tokenizer: own } = await readGolden(family);
  const samples = [...(await readSamples()).entries()].filter(([, text]) => UNSAID[family]?.test(text) !== true);
  expect(samples.length).toBeGreaterThan(50);
  await using folder = await TemporaryFolder.with({ "tokenizer.json": own });
  const wanted = await loadTokenizer(folder.path);
  for (const [at, text] of samples) {
    expect([text, tokenizer.encode(text)]).toEqual([text, ids[at] ?? []]);
    expect(tokenizer.decode(ids[at] ?? [])).toBe(wanted.decode(ids[at] ?? []));
  }
  expect(template?.source).toBe(CONFIG.chat_template);
});

test("a template for tools goes along", async () => {
  const chat_template = ["default", "tool_use"].map((name) => ({ name, template: `of ${name}` }));
  const metadata = await metadataOf("gpt2", { chat_template });
  expect(metadata.get("tokenizer.chat_templates")?.value).toEqual(["tool_use"]);
  const { template } = await readBack(metadata);
  expect([template?.source, template?.for([]).source]).toEqual(["of default", "of tool_use"]);
});

test.each([
  ["command-r", "smollm"],
  ["refact", "smollm"],
  ["glm4", "dbrx"],
  ["lfm2", "llama-bpe"],
  ["exaone4", "gpt-2"],
])("texts are cut for %s as for %s, which is told from the others", async (name, same) => {
  const metadata = await metadataOf("gpt2");
  const samples = [...(await readSamples()).values()];
  const idsOf = async (pre: string) => {
    const value = { kind: "string", value: pre } as const;
    const { tokenizer } = await readBack(new Map([...metadata, ["tokenizer.ggml.pre", value]]));
    return samples.map((text) => tokenizer.encode(text));
  };
  const [found, wanted, other] = [await idsOf(name), await idsOf(same), await idsOf("tekken")];
  expect(found).toEqual(wanted);
  expect(found).not.toEqual(other);
});

test("what is written of a tokenizer that was read is what was read", async () => {
  for (const family of ["llama3", "qwen2", "llama2", "gemma"] as const) {
    const metadata = await metadataOf(family, { bos_token: "<s>", eos_token: "<|im_end|>" });
    await using folder = await TemporaryFolder.with({ ...tokenizerFiles(metadata, "x.gguf") });
    const again = await tokenizerMetadata(folder.path, { size: 544, ids: {} });
    const same = (one: GgufMetadata) => [...one].filter(([key]) => key !== "tokenizer.ggml.scores");
    expect(same(again)).toEqual(same(metadata));
  }
});

test("a text begins with what the file says, else as llama.cpp has it for the kind", async () => {
  const begins = async (family: Family, change: ReadonlyMap<string, GgufValue>, merged = false) => {
    const metadata = new Map([...(await metadataOf(family, { bos_token: "<|im_end|>" }, merged)), ...change]);
    metadata.delete("tokenizer.ggml.add_bos_token");
    for (const [key, value] of change) metadata.set(key, value);
    return (await readBack(metadata)).tokenizer.encode("")[0];
  };
  const bos = new Map<string, GgufValue>([["tokenizer.ggml.bos_token_id", { kind: "u32", value: 2 }]]);
  expect(await begins("llama3", bos)).toBe(2);
  expect(await begins("llama2", bos)).toBe(2);
  expect(await begins("qwen2", bos)).toBeUndefined();
  const no = { kind: "bool", value: false } as const;
  expect(await begins("llama2", new Map([...bos, ["tokenizer.ggml.add_bos_token", no]]))).toBeUndefined();
  expect(await begins("gemma", new Map([...bos, ["tokenizer.ggml.add_bos_token", no]]))).toBeUndefined();
  expect(await begins("gemma", new Map([...bos, ["tokenizer.ggml.add_bos_token", no]]), true)).toBe(2);
});

test("Gemma 4's tokens of channels and tools are user-defined in a file, as llama.cpp has them, and control tokens again", async () => {
  const { tokenizer } = await readGolden("gemma");
  const shown = ["<|channel>", "<tool_call|>", '<|"|>'];
  const added = [...shown, "<|turn>"].map((content, at) => ({ id: 540 + at, content, special: true }));
  await using folder = await TemporaryFolder.with({
    "tokenizer.json": { ...tokenizer, added_tokens: [...(tokenizer["added_tokens"] as object[]), ...added] },
  });
  const wish = { size: 544, ids: {} };
  const kindsOf = (of: GgufMetadata) =>
    Array.from(new GgufFields(of, "x").numbers("tokenizer.ggml.token_type") ?? []).slice(540);
  const metadata = await tokenizerMetadata(folder.path, { ...wish, merged: true });
  const { userDefined, control } = TOKEN_KINDS;
  expect(kindsOf(metadata)).toEqual([userDefined, userDefined, userDefined, control]);
  expect(kindsOf(await tokenizerMetadata(folder.path, wish))).toEqual([control, control, control, control]);
  const { tokenizer: read } = await readBack(metadata);
  expect(
    read.decode(
      added.map(({ id }) => id),
      { skipSpecial: true },
    ),
  ).toBe("");
});

test("merges are those that scores stand for, the longer left part first where they are alike", () => {
  const kinds = ["a", "b", "ab", "abb", "bb", "<s>"].map((text) =>
    text === "<s>" ? TOKEN_KINDS.control : TOKEN_KINDS.normal,
  );
  const tokens = ["a", "b", "ab", "abb", "bb", "<s>"];
  expect(mergesOfScores({ tokens, kinds, scores: [0, 0, -2, -2, -1, 0] })).toEqual([
    ["b", "b"],
    ["ab", "b"],
    ["a", "bb"],
    ["a", "b"],
  ]);
});

const texts = (value: string[]): GgufValue => ({ kind: "array", of: "string", value });

test.each<[string, string, GgufValue, RegExp]>([
  ["a token that is no text", "tokenizer.ggml.tokens", { kind: "u32", value: 1 }, /tokens" is not a list of texts/],
  ["a vocabulary without an end", "tokenizer.ggml.tokens", texts(Array(2 ** 20 + 1).fill("")), /1048577 tokens is too/],
  ["a token without an end", "tokenizer.ggml.tokens", texts(["a".repeat(2 ** 23 + 1)]), /of 1 tokens is too large/],
  ["kinds that are none", "tokenizer.ggml.token_type", { kind: "bool", value: true }, /token_type" is not a list/],
  ["another kind of tokenizer", "tokenizer.ggml.model", { kind: "string", value: "t5" }, /a tokenizer of kind "t5"/],
  ["another pre-tokenizer", "tokenizer.ggml.pre", { kind: "string", value: "x\ny" }, /pre-tokenizer "x\\ny" is not/],
])("%s is refused in one line", async (_, key, value, message) => {
  const metadata = new Map([...(await metadataOf("gpt2")), [key, value] as const]);
  const refusal = await refusalOf(() => tokenizerFiles(metadata, "x.gguf"));
  expect(refusal.message).toMatch(message);
});
