import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { isPeftFolder, PEFT_CONFIG, PEFT_WEIGHTS } from "./peft.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { locateModel } from "../../models/folder/locate.ts";
import { INDEX_FILE } from "../../files/safetensors/shards.ts";

/** What a path is, and where it begins: a run of full fine-tuning keeps its checkpoint in a folder of its own. */
export interface Found {
  readonly kind: "adapter" | "checkpoint";
  readonly path: string;
}

/** Names that files of data have, and of weights never. */
const DATA = /\.(?:jsonl|parquet|csv|tsv|txt)$/i;

/**
 * Is this an adapter or a checkpoint? Names alone decide; a folder that is both is an adapter.
 * @throws RandloraError `file` when it is not there, `format` when it is neither
 */
export async function findKind(path: string): Promise<Found> {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) {
    const hint = "PATH is an adapter or a checkpoint: a folder, a file, or org/name on the Hub";
    throw new RandloraError("file", `cannot read ${oneLine(path)}: no such file or folder`, hint);
  }
  if (!found.isDirectory()) {
    if (DATA.test(path)) {
      const hint = "randlora finetune MODEL --data FILE --dry-run shows what is trained on";
      throw new RandloraError("format", `${oneLine(path)}: data, neither an adapter nor a checkpoint`, hint);
    }
    const isConfig = basename(path) === "config.json";
    return { kind: kindOfFile(basename(path)), path: isConfig ? dirname(path) : path };
  }
  const has = (name: string) => existsSync(join(path, name));
  if (has(PEFT_CONFIG)) return { kind: "adapter", path };
  if (has("run.json")) {
    const { folder } = await locateModel(path);
    return folder === path ? { kind: "adapter", path } : { kind: "checkpoint", path: folder };
  }
  const names = readdirSync(path);
  if (has("config.json") || names.some((name) => /\.(?:safetensors|bin|gguf)$/.test(name)) || has(INDEX_FILE)) {
    return { kind: "checkpoint", path };
  }
  if (has("adapter.json") || (await isPeftFolder(path))) return { kind: "adapter", path };
  const cause = `neither an adapter (${PEFT_CONFIG}, adapter.json) nor a checkpoint (config.json, .safetensors)`;
  throw new RandloraError("format", `${oneLine(path)}: ${cause}`, "name the folder that holds the files");
}

function kindOfFile(name: string): Found["kind"] {
  if (name === PEFT_WEIGHTS) return "adapter";
  const isConfig = name === "config.json" || name.endsWith(".index.json");
  return name.endsWith(".json") && !isConfig ? "adapter" : "checkpoint";
}
