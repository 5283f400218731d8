import { readFile, stat } from "node:fs/promises";
import { RandloraError } from "../errors.ts";
import { naming, oneLine, quote } from "./failure.ts";
import { isJsonObject, scanJson } from "./json.ts";

/** A checked `model.safetensors.index.json`. */
export interface CheckpointIndex {
  /** Tensor name → path of its file, relative to the index's folder and never outside it. */
  readonly shardOf: ReadonlyMap<string, string>;
  readonly metadata: Readonly<Record<string, unknown>>;
}

// Far beyond any real one (20 MB for the largest mixtures of experts); keeps a wrong file from filling the memory.
const MAX_INDEX_BYTES = 256 << 20;

/** Reads the index of a sharded checkpoint. Throws `RandloraError` "file" or "format" naming `path` and the cause. */
export async function readIndex(path: string): Promise<CheckpointIndex> {
  const found = await naming(path, "read", stat(path));
  if (!found.isFile())
    throw new RandloraError("file", `cannot read ${oneLine(path)}: this is not a file`, "check the path");
  const { size } = found;
  if (size > MAX_INDEX_BYTES) throw refusal(path, `${size} bytes are too long for an index`);
  return parseIndex(await naming(path, "read", readFile(path)), path);
}

/** {@link readIndex} of bytes that are already here. */
export function parseIndex(bytes: Uint8Array, path: string): CheckpointIndex {
  let text: string;
  let root: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    root = JSON.parse(text);
  } catch {
    throw refusal(path, "not UTF-8 JSON");
  }
  if (!isJsonObject(root)) throw refusal(path, "not a JSON object");
  const { weight_map: map, metadata } = root;
  if (!isJsonObject(map)) {
    const hint = "name the model's folder, its index.json, or one .safetensors file";
    throw refusal(path, "no weight_map: this is no index of weights", hint);
  }
  const { duplicate } = scanJson(text);
  if (duplicate !== undefined) throw refusal(path, `${duplicate.map(quote).join(" / ")} occurs twice`);
  const shardOf = new Map<string, string>();
  for (const [name, file] of Object.entries(map)) {
    if (typeof file !== "string") throw refusal(path, `tensor ${quote(name)}: its file is not a string`);
    if (!staysInside(file)) throw refusal(path, `tensor ${quote(name)}: ${quote(file)} leaves the folder`);
    shardOf.set(name, file);
  }
  if (shardOf.size === 0) throw refusal(path, "its weight_map is empty: it names no weights");
  return { shardOf, metadata: isJsonObject(metadata) ? metadata : {} };
}

/**
 * Is `file` a relative path without `..`? Only the text counts: in the Hub's cache every file is a symbolic link that
 * leads out of the folder. Backslashes and drive letters are refused on every system.
 */
function staysInside(file: string): boolean {
  if (file === "" || /^[A-Za-z]:/.test(file) || file.includes("\\") || file.includes("\0")) return false;
  return file.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

function refusal(path: string, cause: string, hint = "the index is damaged: download the model again"): RandloraError {
  return new RandloraError("format", `${oneLine(path)}: ${cause}`, hint);
}
