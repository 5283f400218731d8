import { cp } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { TEST_DEVICE } from "../../compute/device/testing/open.ts";
import { HARMONY_MARKS } from "../../data/text/harmony.ts";
import { FIXTURES } from "../../data/text/testing/families.ts";
import { LanguageModel } from "../language-model.ts";

/** The stories model with a chat template in the manner of gpt-oss. */
export async function loadHarmonyModel(folder: string): Promise<LanguageModel> {
  return await loadWithTokens(folder, HARMONY_MARKS, "harmony.jinja");
}

/** The stories model with a chat template, and with special tokens, which were bytes that no text has. */
export async function loadWithTokens(folder: string, tokens: readonly string[], template: string) {
  await cp(STORIES, folder, { recursive: true });
  const path = join(folder, "tokenizer.json");
  const file = await Bun.file(path).json();
  for (const [at, content] of tokens.entries()) {
    const byte = `<0x${(0xf8 + at).toString(16).toUpperCase()}>`;
    const id: number = file.model.vocab[byte];
    delete file.model.vocab[byte];
    file.model.vocab[content] = id;
    file.added_tokens.push({ id, content, special: true, normalized: false });
  }
  await Bun.write(path, JSON.stringify(file));
  const templateFile = join(FIXTURES, "chat", template);
  return await LanguageModel.load({ location: { folder, weights: undefined }, device: TEST_DEVICE, templateFile });
}
