import { describe, expect, test } from "bun:test";
import { RandloraError } from "../../../files/errors.ts";
import { refusalOf, TemporaryFolder } from "../../../files/testing/folder.ts";
import type { GgufValue } from "../../../files/gguf/format.ts";
import { type Family, readGolden } from "../testing/families.ts";
import { looksSpecial } from "./kinds.ts";
import { readPieces } from "./vocabulary.ts";
import { tokenizerMetadata, type TokenizerWish } from "./tokenizer-metadata.ts";

const SIZE = 544;

async function metadataOf(
  family: Family,
  {
    config = {},
    change = {},
    pre,
    merged,
    files = {},
    ids = { eos: 5 },
  }: {
    config?: object;
    change?: object;
    pre?: string;
    merged?: boolean;
    files?: Readonly<Record<string, unknown>>;
    ids?: TokenizerWish["ids"];
  } = {},
) {
  const { tokenizer } = await readGolden(family);
  await using folder = await TemporaryFolder.with({
    "tokenizer.json": { ...tokenizer, ...change },
    "tokenizer_config.json": config,
    ...files,
  });
  const metadata = await tokenizerMetadata(folder.path, { size: SIZE, pre, merged, ids });
  return (key: string): GgufValue["value"] | undefined => metadata.get(`tokenizer.${key}`)?.value;
}

test.each<[Family, string]>([
  ["gpt2", "gpt-2"],
  ["llama3", "llama-bpe"],
  ["qwen2", "qwen2"],
  ["gpt4o", "gpt-4o"],
])("%s is byte-level BPE, cut as llama.cpp's %s", async (family, pre) => {
  const of = await metadataOf(family);
  expect([of("ggml.model"), of("ggml.pre")]).toEqual(["gpt2", pre]);
  const { tokenizer } = await readGolden(family);
  const model = tokenizer["model"] as { vocab: Record<string, number>; merges: string[][] };
  const tokens = of("ggml.tokens") as string[];
  for (const [token, id] of Object.entries(model.vocab)) expect(tokens[id]).toBe(token);
  expect(tokens.length).toBe(SIZE);
  expect([tokens.at(-1), (of("ggml.token_type") as number[]).at(-1)]).toEqual([`[PAD${SIZE - 1}]`, 5]);
  expect((of("ggml.merges") as string[])[0]).toBe(model.merges[0]?.join(" ") ?? "");
});

test("a text begins with what the tokenizer puts there, and nothing else", async () => {
  const added = await metadataOf("llama3", { config: { bos_token: "<|im_end|>" } });
  expect([added("ggml.add_bos_token"), added("ggml.bos_token_id"), added("ggml.eos_token_id")]).toEqual([true, 420, 5]);
  const plain = await metadataOf("qwen2", { config: { eos_token: "<|im_start|>" } });
  expect([plain("ggml.add_bos_token"), plain("ggml.bos_token_id"), plain("ggml.eos_token_id")]).toEqual([
    false,
    undefined,
    1,
  ]);
  const both = await metadataOf("phi3");
  expect([both("ggml.add_bos_token"), both("ggml.add_eos_token")]).toEqual([true, true]);
});

describe("SentencePiece", () => {
  test("without tokenizer.model a token scores by the merge that makes it", async () => {
    const of = await metadataOf("llama2");
    expect([of("ggml.model"), of("ggml.pre"), of("ggml.add_space_prefix")]).toEqual(["llama", "default", undefined]);
    const tokens = of("ggml.tokens") as string[];
    const scores = of("ggml.scores") as number[];
    const kinds = of("ggml.token_type") as number[];
    const { tokenizer } = await readGolden("llama2");
    const { merges } = tokenizer["model"] as { merges: [string, string][] };
    for (const rank of [0, 5, 20]) {
      const text = merges[rank]?.join("") ?? "";
      const first = merges.findIndex((merge) => merge.join("") === text);
      expect(scores[tokens.indexOf(text)]).toBe(-first || 0);
    }
    expect([kinds[0], kinds[tokens.indexOf("<0x0A>")], kinds[tokens.indexOf("▁")]]).toEqual([3, 6, 1]);
  });

  test("of several merges that make a token the first one is its score", async () => {
    const { tokenizer } = await readGolden("llama2");
    const { merges, ...model } = tokenizer["model"] as { merges: [string, string][] };
    const [first = ["", ""]] = merges;
    const of = await metadataOf("llama2", { change: { model: { ...model, merges: [...merges, first] } } });
    const tokens = of("ggml.tokens") as string[];
    expect((of("ggml.scores") as number[])[tokens.indexOf(first.join(""))]).toBe(0);
  });

  test("Gemma puts no blank before a text", async () => {
    expect((await metadataOf("gemma"))("ggml.add_space_prefix")).toBe(false);
    const merged = await metadataOf("gemma", { merged: true });
    expect([merged("ggml.model"), merged("ggml.add_space_prefix")]).toEqual(["gemma4", false]);
    const refusal = await refusalOf(() => metadataOf("llama2", { merged: true }));
    expect(refusal).toMatchObject({ code: "model", message: expect.stringContaining("a space before each text") });
  });

  test("tokenizer.model has the scores where it is there", async () => {
    const piece = (text: string, score: number, kind?: number): number[] => {
      const bytes = [...new TextEncoder().encode(text)];
      const number = [...new Uint8Array(Float32Array.of(score).buffer)];
      const body = [0x0a, bytes.length, ...bytes, 0x15, ...number, ...(kind === undefined ? [] : [0x18, kind])];
      return [0x0a, body.length, ...body];
    };
    // A trainer's settings (field 2) stand behind the pieces, and are passed over.
    const bytes = Uint8Array.from([...piece("<unk>", 0, 2), ...piece("▁the", -3.5), 0x12, 2, 8, 1]);
    expect(readPieces(bytes, "tokenizer.model")).toEqual([
      { text: "<unk>", score: 0, kind: 2 },
      { text: "▁the", score: -3.5, kind: 1 },
    ]);
    for (let length = 1; length < bytes.length; length++) {
      try {
        readPieces(bytes.subarray(0, length), "tokenizer.model");
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(RandloraError);
      }
    }
  });
});

test("an unknown pre-tokenizer is refused with the way out", async () => {
  const change = { pre_tokenizer: { type: "ByteLevel", add_prefix_space: true, use_regex: true } };
  const refusal = await refusalOf(() => metadataOf("gpt2", { change }));
  expect(refusal.code).toBe("model");
  expect(refusal.message).toContain("llama.cpp's name of this pre-tokenizer is not known");
  expect(refusal.hint).toContain("--pre NAME");
  expect((await metadataOf("gpt2", { change, pre: "olmo" }))("ggml.pre")).toBe("olmo");
});

test("a tokenizer of another kind, and one that is larger than the model, are refused", async () => {
  expect((await refusalOf(() => metadataOf("unigram"))).message).toContain("cannot be written as GGUF");
  const { normalizer } = (await readGolden("t5")).tokenizer;
  const change = { change: { normalizer } };
  expect((await refusalOf(() => metadataOf("llama2", change))).message).toContain("cannot be written as GGUF");
  const { tokenizer } = await readGolden("gpt2");
  const added = [...(tokenizer["added_tokens"] as object[]), { id: SIZE, content: "<new>" }];
  const refusal = await refusalOf(() => metadataOf("gpt2", { change: { added_tokens: added } }));
  expect(refusal.message).toContain(`a token ${SIZE}, but the model's embedding only ${SIZE} rows`);
});

test("the chat template goes along", async () => {
  const of = await metadataOf("gpt2", { config: { chat_template: "{{ messages[0].content }}" } });
  expect(of("chat_template")).toBe("{{ messages[0].content }}");
});

test.each([
  ["<|im_end|>", true],
  ["<pad>", true],
  ["<unused7>", true],
  ["<div>", false],
  ["a<|b|>", false],
])("%s looks like a control token: %p", (text, special) => {
  expect(looksSpecial(text)).toBe(special);
});

test("texts are padded with the token of the tokenizer, else of config.json, where the embedding has it", async () => {
  const padding = async (pad: number, config: object = {}) => {
    const of = await metadataOf("qwen2", { config, ids: { pad } });
    return of("ggml.padding_token_id");
  };
  expect(await padding(7)).toBe(7);
  expect(await padding(7, { pad_token: "<|im_start|>" })).toBe(1);
  expect([await padding(-1), await padding(SIZE)]).toEqual([undefined, undefined]);
});
