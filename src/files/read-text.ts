import { existsSync } from "node:fs";
import { join } from "node:path";

import * as v from "valibot";

import { RandloraError } from "./errors.ts";
import { brief, oneLine } from "./failure.ts";
import { isJsonObject } from "./json.ts";
import { MAX_SETTINGS_BYTES, readJson, readWhole } from "./read-whole.ts";
import { decodeUtf8 } from "./utf8.ts";

const HINT = "fetch or copy the file again";

/**
 * Reads and parses a JSON object of a model folder.
 * @throws {RandloraError} `file` when unreadable, `format` when it is not one or longer than `most` bytes
 */
export async function readJsonObject(
  path: string,
  most = MAX_SETTINGS_BYTES,
): Promise<Readonly<Record<string, unknown>>> {
  const parsed = await readJson(path, most, HINT);
  if (isJsonObject(parsed)) return parsed;
  throw new RandloraError("format", `${path}: not a JSON object`, HINT);
}

/** As `readJsonObject`, but a file that does not exist is an empty object. */
export async function readOptionalJsonObject(path: string): Promise<Readonly<Record<string, unknown>>> {
  return existsSync(path) ? readJsonObject(path) : {};
}

/**
 * Reads a UTF-8 text file that the user names, be it a pipe, of up to 1 GiB.
 * @throws {RandloraError} `file` when unreadable, `format` when it is longer, `data` when it is not UTF-8
 */
export async function readText(path: string): Promise<string> {
  return decodeUtf8(await readWhole(path, 2 ** 30, { pipes: true }), path);
}

/** A special token in tokenizer_config.json: its text, or an object that holds it. */
export const TokenText = v.union([
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
  throw new RandloraError("format", `${oneLine(path)}: ${v.getDotPath(issue) ?? ""}: ${brief(issue.message)}`);
}
