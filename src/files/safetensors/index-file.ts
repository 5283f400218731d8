import { RandloraError } from "../errors.ts";
import { oneLine, quote } from "../failure.ts";
import { staysInFolder } from "../name.ts";
import { isJsonObject, scanJson } from "../json.ts";
import { decodeJson, parseJson, readWhole } from "../read-whole.ts";

/** A checked `model.safetensors.index.json`. */
export interface CheckpointIndex {
  /** Tensor name → path of its file, relative to the index's folder and never outside it. */
  readonly shardOf: ReadonlyMap<string, string>;
  readonly metadata: Readonly<Record<string, unknown>>;
}

// Far beyond any real one (20 MB for the largest mixtures of experts); keeps a wrong file from filling the memory.
const HINT = "the index is damaged: download the model again";
const MAX_INDEX_BYTES = 256 << 20;

/** Reads the index of a sharded checkpoint. Throws `RandloraError` "file" or "format" naming `path` and the cause. */
export async function readIndex(path: string): Promise<CheckpointIndex> {
  return parseIndex(await readWhole(path, MAX_INDEX_BYTES), path);
}

/** {@link readIndex} of bytes that are already here. */
export function parseIndex(bytes: Uint8Array, path: string): CheckpointIndex {
  const text = decodeJson(bytes, path, HINT);
  const root = parseJson(text, path, HINT);
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
    if (!staysInFolder(file)) throw refusal(path, `tensor ${quote(name)}: ${quote(file)} leaves the folder`);
    shardOf.set(name, file);
  }
  if (shardOf.size === 0) throw refusal(path, "its weight_map is empty: it names no weights");
  return { shardOf, metadata: isJsonObject(metadata) ? metadata : {} };
}

function refusal(path: string, cause: string, hint = HINT): RandloraError {
  return new RandloraError("format", `${oneLine(path)}: ${cause}`, hint);
}
