// Models of the sizes that people have, for tests that compute nothing.
import { copyFile, truncate } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { tensorEntry } from "../../files/safetensors/testing/files.ts";
import { loadConfig } from "../decoder/architectures/index.ts";
import { plannedMatrices } from "../decoder/weight-plan.ts";
import { elements } from "../tensor-plan.ts";

/** Llama 3 8B and Llama 3.2 3B, as far as sizes go. */
export const LLAMA_8B = {
  model_type: "llama",
  vocab_size: 128_256,
  hidden_size: 4096,
  intermediate_size: 14_336,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  max_position_embeddings: 32_768,
};
export const LLAMA_3B = {
  ...LLAMA_8B,
  hidden_size: 3072,
  intermediate_size: 8192,
  num_hidden_layers: 28,
  num_attention_heads: 24,
  head_dim: 128,
  tie_word_embeddings: true,
};

/** Writes a model in BF16 whose weights are a hole in a file. */
export async function writeHollow(folder: string, config: object): Promise<void> {
  await Bun.write(join(folder, "config.json"), JSON.stringify(config));
  for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
    await copyFile(join(STORIES, file), join(folder, file));
  }
  const parts = plannedMatrices(await loadConfig(folder)).flatMap((planned) => planned.parts);
  let end = 0;
  const header = Object.fromEntries(
    parts.map(({ name, stored }) => [name, tensorEntry("BF16", stored, end, (end += 2 * elements(stored)))]),
  );
  const text = new TextEncoder().encode(JSON.stringify(header));
  const file = join(folder, "model.safetensors");
  await Bun.write(file, new Blob([new BigUint64Array([BigInt(text.length)]), text]));
  await truncate(file, 8 + text.length + end);
}
