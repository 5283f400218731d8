import type { Dirent } from "node:fs";
import { quote } from "./failure.ts";

/** Everything beside the weights that a loader, ours or Python's, looks for; absent ones do not matter. */
export const MODEL_FILES: ReadonlySet<string> = new Set([
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "vocab.txt",
  "merges.txt",
  "tokenizer.model",
  "chat_template.json",
  "preprocessor_config.json",
  "processor_config.json",
]);

/** What else tools write into the folder of a model or an adapter: weights, their index, templates, cards. */
const WRITTEN_BY_TOOLS =
  /^(?:.+\.safetensors(?:\.index\.json)?|.+\.jinja|adapter(?:_config)?\.json|classes\.json|README\.md|LICENSE(?:\.(?:md|txt))?|\.gitattributes)$/;

/**
 * Why a folder with these entries may not be replaced by a model or an adapter: it is neither (weights and a
 * configuration or an index), or an entry of it would be lost that tools do not write there.
 * @param known names that the output will have, too
 */
export function modelFolderObjection(entries: readonly Dirent[], known: readonly string[] = []): string | undefined {
  const names = entries.map(({ name }) => name);
  const isDescribed = names.some((name) => /^(adapter_)?config\.json$|\.safetensors\.index\.json$/.test(name));
  if (!isDescribed || !names.some((name) => name.endsWith(".safetensors"))) {
    return "it exists and is neither a model's folder nor an adapter's";
  }
  const other = entries.find((entry) => !known.includes(entry.name) && (entry.isDirectory() || !isOfModel(entry.name)));
  return other && `it holds ${quote(other.name)}, which the output would not have`;
}

function isOfModel(name: string): boolean {
  return MODEL_FILES.has(name) || WRITTEN_BY_TOOLS.test(name);
}
