import { existsSync } from "node:fs";
import { join } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { Tokenizer } from "./tokenizer.ts";
import { hintOfAdapter } from "../../files/run-names.ts";
import { readJsonObject, readTokenizerConfig } from "../../files/read-text.ts";
import { explain } from "./tokenizer/part.ts";

/** Real ones have up to 40 MiB; parsed, a file takes several times its size. */
const MAX_TOKENIZER_BYTES = 128 * 2 ** 20;

/**
 * Loads the tokenizer of a model folder; no weights are needed.
 *
 * @throws {RandloraError} `file` when the folder has none, `format` when it is broken, `model` when it is of a kind that
 *   is not supported
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  return (await openTokenizer(folder)).tokenizer;
}

/** The same with the parsed tokenizer.json and its path, for whoever writes it in another format. */
export async function openTokenizer(folder: string): Promise<{ tokenizer: Tokenizer; file: unknown; path: string }> {
  const path = join(folder, "tokenizer.json");
  if (!existsSync(path)) throw await missing(folder, path);
  const file = await readJsonObject(path, MAX_TOKENIZER_BYTES);
  const config = await readTokenizerConfig(folder);
  try {
    return { tokenizer: new Tokenizer(file, config, path), file, path };
  } catch (error) {
    throw explain(error, path);
  }
}

async function missing(folder: string, path: string): Promise<RandloraError> {
  const cause = `${path}: no such file`;
  const old = ["tokenizer.model", "vocab.json", "vocab.txt"].find((name) => existsSync(join(folder, name)));
  if (old !== undefined) {
    const saved = "save the tokenizer with transformers' AutoTokenizer, which writes tokenizer.json";
    return new RandloraError("file", cause, `${old} alone is not enough: ${saved}`);
  }
  if (existsSync(join(folder, "tekken.json"))) {
    const hint = "tekken.json is not read: take a copy of the model in transformers' format, which has tokenizer.json";
    return new RandloraError("file", cause, hint);
  }
  return new RandloraError("file", cause, (await hintOfAdapter(folder)) ?? "MODEL must be a folder with a tokenizer");
}
