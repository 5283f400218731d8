import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import * as v from "valibot";

import { RandloraError } from "../../errors.ts";
import { naming } from "../../safetensors/failure.ts";
import { decodeUtf8 } from "../utf8.ts";

/** Reads and parses a JSON object. @throws {RandloraError} `file` when unreadable, `format` when it is not one */
export async function readJsonObject(path: string): Promise<Readonly<Record<string, unknown>>> {
  const text = await readText(path);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new RandloraError("format", `${path}: not JSON: ${reason}`, "fetch or copy the file again", { cause: error });
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new RandloraError("format", `${path}: not a JSON object`, "fetch or copy the file again");
  }
  return { ...parsed };
}

/** As `readJsonObject`, but a file that does not exist is an empty object. */
export async function readOptionalJsonObject(path: string): Promise<Readonly<Record<string, unknown>>> {
  return existsSync(path) ? readJsonObject(path) : {};
}

/** Reads a UTF-8 text file. @throws {RandloraError} `file` when unreadable, `data` when it is not UTF-8 */
export async function readText(path: string): Promise<string> {
  return decodeUtf8(await naming(path, "read", readFile(path)), path);
}

/** A special token in tokenizer_config.json: its text, or an object that holds it. */
const TokenText = v.union([
  v.string(),
  v.pipe(
    v.looseObject({ content: v.string() }),
    v.transform((t) => t.content),
  ),
]);
const OptionalToken = v.optional(v.nullable(TokenText), null);

/** What this program reads of tokenizer_config.json (and, for the tokens, of special_tokens_map.json). */
export const TokenizerConfig = v.looseObject({
  bos_token: OptionalToken,
  eos_token: OptionalToken,
  pad_token: OptionalToken,
  unk_token: OptionalToken,
  add_bos_token: v.optional(v.nullable(v.boolean()), null),
  add_eos_token: v.optional(v.nullable(v.boolean()), null),
});
export type TokenizerConfig = v.InferOutput<typeof TokenizerConfig>;

/**
 * Reads tokenizer_config.json of a model folder; an older special_tokens_map.json fills what it leaves out. Neither file
 * is required.
 */
export async function readTokenizerConfig(folder: string): Promise<TokenizerConfig> {
  const path = join(folder, "tokenizer_config.json");
  const map = await readOptionalJsonObject(join(folder, "special_tokens_map.json"));
  const config = await readOptionalJsonObject(path);
  const result = v.safeParse(TokenizerConfig, { ...map, ...config }, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new RandloraError("format", `${path}: ${v.getDotPath(issue) ?? ""}: ${issue.message}`);
}
