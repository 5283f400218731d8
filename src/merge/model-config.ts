import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { isObject, parseLossless, stringifyLossless } from "../adapters/lossless-json.ts";
import { RandloraError } from "../errors.ts";
import { naming, oneLine, systemCode } from "../safetensors/failure.ts";
import type { OutputDtype } from "./plan.ts";

/** A model's config.json. */
export interface ModelConfig {
  readonly path: string;
  /** As it is in the file. */
  readonly text: string;
  readonly value: Readonly<Record<string, unknown>>;
}

/**
 * Reads the config.json of a folder; `undefined` where there is none, as beside a lone file.
 * @throws RandloraError `format` naming the file when it is no JSON object
 */
export async function readConfig(folder: string): Promise<ModelConfig | undefined> {
  const path = join(folder, "config.json");
  let bytes: Uint8Array;
  try {
    const found = await stat(path);
    // Reading a FIFO would wait for a writer for ever.
    if (!found.isFile() && !found.isDirectory()) {
      throw new RandloraError("file", `cannot read ${oneLine(path)}: this is not a file`, "check the path");
    }
    bytes = await readFile(path);
  } catch (thrown) {
    if (systemCode(thrown) === "ENOENT") return undefined;
    return naming(path, "read", Promise.reject(thrown));
  }
  const text = decode(bytes, path);
  return { path, text, value: parseConfig(text, path) };
}

/** The text of a config.json; a byte order mark, which JSON does not allow, is no part of it. */
function decode(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new RandloraError("format", `${oneLine(path)}: not UTF-8 text`, "fetch the model again", { cause });
  }
}

/** A model folder without a config.json. */
export function missingConfig(folder: string): RandloraError {
  const cause = "no such file, but a model folder has one";
  const hint = "give the .safetensors file itself to merge a lone file";
  return new RandloraError("file", `${oneLine(join(folder, "config.json"))}: ${cause}`, hint);
}

/** What a merge changes in config.json. */
export interface ConfigChanges {
  readonly dtype: OutputDtype;
  /** A tied output embedding is now a tensor of its own. */
  readonly untied: boolean;
}

const TORCH_NAMES = { f32: "float32", f16: "float16", bf16: "bfloat16" } as const;

/**
 * config.json after a merge; the very same text where nothing changes, and numbers keep all their digits.
 * `text` has been parsed before, by `parseConfig`.
 */
export function updateConfig(text: string, { dtype, untied }: ConfigChanges): string {
  const config = parseLossless(text);
  if ((dtype === "keep" && !untied) || !isObject(config)) return text;
  const names = dtype === "keep" ? [] : ["torch_dtype", "dtype"].filter((name) => name in config);
  if (dtype !== "keep" && names.length === 0) names.push("dtype");
  const changes: Record<string, string | boolean> = {};
  if (dtype !== "keep") for (const name of names) changes[name] = TORCH_NAMES[dtype];
  if (untied) changes["tie_word_embeddings"] = false;
  return `${stringifyLossless({ ...config, ...changes })}\n`;
}

/**
 * The parsed text of a config.json.
 * @throws RandloraError `format` naming the file when it is no JSON object
 */
export function parseConfig(text: string, path: string): Readonly<Record<string, unknown>> {
  const hint = "fetch the model again";
  try {
    const config: unknown = JSON.parse(text);
    if (typeof config === "object" && config !== null && !Array.isArray(config)) return { ...config };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new RandloraError("format", `${oneLine(path)}: not JSON: ${oneLine(reason)}`, hint, { cause });
  }
  throw new RandloraError("format", `${oneLine(path)}: not a JSON object`, hint);
}
