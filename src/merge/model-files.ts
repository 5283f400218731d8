import { copyFile, mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { isObject, parseLossless, stringifyLossless } from "../adapters/lossless-json.ts";
import { RandloraError } from "../errors.ts";
import { naming, oneLine } from "../safetensors/failure.ts";
import type { OutputDtype } from "./plan.ts";

/** Weights in any format: those of the output are written anew, and another format's would be the unmerged ones. */
const WEIGHTS =
  /\.(safetensors|safetensors\.index\.json|bin|bin\.index\.json|pth?|ckpt|gguf|ggml|onnx|onnx_data|h5|msgpack|npz)$/i;

/** What is not part of a model: version control, download state, unfinished outputs. */
const CLUTTER = /^(\.git|\.gitattributes|\.cache|\.DS_Store|.*\.part)$/;

/**
 * Copies everything but weights from a model folder, subfolders too; links are followed, as the Hub's cache is made
 * of them.
 * @returns the weight files that were left out although they are no part of the checkpoint (another format, stale shards)
 */
export async function copyModelFiles(
  from: string,
  to: string,
  checkpointFiles: ReadonlySet<string>,
): Promise<string[]> {
  const leftOut: string[] = [];
  await naming(to, "write", mkdir(to, { recursive: true }));
  for (const name of (await naming(from, "read", readdir(from))).toSorted()) {
    if (CLUTTER.test(name) || name === "config.json") continue;
    const path = join(from, name);
    if ((await naming(path, "read", stat(path))).isDirectory()) {
      const inner = await copyModelFiles(path, join(to, name), checkpointFiles);
      leftOut.push(...inner.map((file) => join(name, file)));
    } else if (WEIGHTS.test(name)) {
      if (!checkpointFiles.has(path)) leftOut.push(name);
    } else {
      await naming(join(to, name), "write", copyFile(path, join(to, name)));
    }
  }
  return leftOut;
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
