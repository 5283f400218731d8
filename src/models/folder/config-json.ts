import { join } from "node:path";
import { isObject, type Json, parseLossless, stringifyLossless } from "../../files/lossless-json.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, systemCode } from "../../files/failure.ts";
import { isJsonObject } from "../../files/json.ts";
import { MAX_SETTINGS_BYTES, parseJson, readJsonText } from "../../files/read-whole.ts";
import { isPacked } from "../decoder/config-file.ts";
import type { OutputDtype } from "../../files/safetensors/dtype.ts";

const HINT = "fetch the model again";

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
  let text: string;
  try {
    text = await readJsonText(path, MAX_SETTINGS_BYTES, HINT);
  } catch (thrown) {
    if (thrown instanceof RandloraError && systemCode(thrown.cause) === "ENOENT") return undefined;
    throw thrown;
  }
  return { path, text, value: parseConfig(text, path) };
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
  /** There is a classifier now; `architecture` undefined: it is none that transformers has a class for. */
  readonly head?: { readonly architecture: string | undefined; readonly labels: readonly string[] } | undefined;
}

const TORCH_NAMES = { f32: "float32", f16: "float16", bf16: "bfloat16" } as const;

/**
 * config.json after a merge; the very same text where nothing changes, and numbers keep all their digits.
 * `text` has been parsed before, by `parseConfig`.
 */
export function updateConfig(text: string, { dtype, untied, head }: ConfigChanges): string {
  const parsed = parseLossless(text);
  if (!isObject(parsed)) return text;
  const { quantization_config: _, ...unpacked } = parsed;
  // No output is packed.
  const config = isPacked(parsed) ? unpacked : parsed;
  if (dtype === "keep" && !untied && head === undefined && config === parsed) return text;
  const names = dtype === "keep" ? [] : ["torch_dtype", "dtype"].filter((name) => name in config);
  if (dtype !== "keep" && names.length === 0) names.push("dtype");
  const changes: Record<string, Json> = {};
  if (dtype !== "keep") for (const name of names) changes[name] = TORCH_NAMES[dtype];
  if (untied) changes["tie_word_embeddings"] = false;
  if (head !== undefined) {
    if (head.architecture !== undefined) changes["architectures"] = [head.architecture];
    changes["id2label"] = Object.fromEntries(head.labels.map((label, id) => [String(id), label]));
    changes["label2id"] = Object.fromEntries(head.labels.map((label, id) => [label, id]));
  }
  return `${stringifyLossless({ ...config, ...changes })}\n`;
}

/**
 * The parsed text of a config.json.
 * @throws RandloraError `format` naming the file when it is no JSON object
 */
export function parseConfig(text: string, path: string): Readonly<Record<string, unknown>> {
  const config = parseJson(text, path, HINT);
  if (isJsonObject(config)) return config;
  throw new RandloraError("format", `${oneLine(path)}: not a JSON object`, HINT);
}
