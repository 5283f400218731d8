import { join } from "node:path";
import { Tokenizer } from "../tokenizer.ts";
import { TokenizerConfig } from "../../../files/read-text.ts";
import * as v from "valibot";

const ROOT = join(import.meta.dir, "../../../..");
export const FIXTURES = join(ROOT, "fixtures");

/** What fixtures/tokenizers/make.py writes. */
const Golden = v.object({
  tokenizer: v.record(v.string(), v.unknown()),
  ids: v.array(v.array(v.number())),
  decoded: v.array(v.tuple([v.array(v.number()), v.string(), v.string()])),
});

/** One small tokenizer in the manner of each family, with what Python's `tokenizers` says of it. */
export const FAMILIES = [
  "llama3",
  "qwen2",
  "gpt2",
  "gpt4o",
  "gemma",
  "llama2",
  "mistral",
  "phi3",
  "unigram",
  "t5",
  "clip",
] as const;
export type Family = (typeof FAMILIES)[number];

export async function readGolden(family: Family): Promise<v.InferOutput<typeof Golden>> {
  return v.parse(Golden, await Bun.file(join(FIXTURES, "tokenizers", `${family}.json`)).json());
}

export async function readSamples(): Promise<readonly string[]> {
  return v.parse(v.array(v.string()), await Bun.file(join(FIXTURES, "tokenizers", "samples.json")).json());
}

/** @param config keys of tokenizer_config.json. @param added tokens beside its own, as tokenizer.json has them */
export async function familyTokenizer(
  family: Family,
  config: Record<string, unknown> = {},
  added: readonly object[] = [],
): Promise<Tokenizer> {
  const { tokenizer } = await readGolden(family);
  const own = v.parse(v.array(v.unknown()), tokenizer["added_tokens"]);
  return new Tokenizer({ ...tokenizer, added_tokens: [...own, ...added] }, v.parse(TokenizerConfig, config));
}

/** Special tokens with ids that no small tokenizer has. */
export function specialTokens(contents: readonly string[], special = true): object[] {
  return contents.map((content, at) => ({ id: 9000 + at, content, special }));
}
