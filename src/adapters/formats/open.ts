import { existsSync, readdirSync, statSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { parseHubName } from "../../files/hub/name.ts";
import { naming, oneLine, systemCode } from "../../files/failure.ts";
import { INDEX_FILE } from "../../files/safetensors/shards.ts";
import { locateModel } from "../../models/folder/locate.ts";
import { openJson } from "./json.ts";
import { isPeftFolder, openPeft, PEFT_CONFIG, PEFT_WEIGHTS } from "./peft.ts";
import type { Tolerate } from "../files/tensors.ts";
import type { Adapter } from "../files/adapter.ts";
import { HubFailure } from "../../files/hub/failure.ts";
import { resolveModel } from "../../files/hub/resolve.ts";
import { localPath } from "../../models/folder/local-path.ts";
import type { Context } from "../../terminal/options/command.ts";

const JSON_FILE = "adapter.json";
/** A run keeps its best adapter, and its last, in these folders. */
const RUN_FOLDERS = ["best", "adapter"] as const;

const REFUSED: readonly (readonly [ending: RegExp, cause: string, hint: string])[] = [
  [
    /\.(?:bin|pt|pth|ckpt)$/i,
    "pickled weights are not read",
    "load them with PEFT and save them with save_pretrained(..., safe_serialization=True)",
  ],
  [
    /\.gguf$/i,
    "GGUF is read as a model, not as an adapter",
    "give the PEFT folder or the run that it was converted from; llama-cli takes the file (--lora FILE); a model stands before its adapters",
  ],
];

/**
 * Opens an adapter on the disk: a PEFT folder or one of its files, an adapter.json, or a run folder (its best, else its
 * last adapter). A name on the Hub must have been resolved to a folder before. Throws `RandloraError`.
 *
 * @param tolerate told of what hinders applying it; what its files say is then given as far as they can be read
 */
export async function openAdapter(path: string, tolerate?: Tolerate): Promise<Adapter> {
  const refused = REFUSED.find(([ending]) => ending.test(path));
  if (refused !== undefined) {
    const [, cause, hint] = refused;
    throw new RandloraError("format", `${oneLine(path)}: ${cause}`, hint);
  }
  const { place, isJson } = await placeOf(path);
  return isJson ? openJson(place, tolerate) : openPeft(place, tolerate);
}

/** Bytes of the files that `openAdapter` reads, and of those beside them. @throws RandloraError `file` as there */
export async function adapterBytes(path: string): Promise<number> {
  const { place } = await placeOf(path);
  const { size } = await stat(place);
  if (!(await isFolder(place))) return size;
  const files = (await readdir(place, { withFileTypes: true })).filter((entry) => !entry.isDirectory());
  const sizes = await Promise.all(files.map(async ({ name }) => (await stat(join(place, name))).size));
  return sizes.reduce((sum, one) => sum + one, 0);
}

/** The PEFT folder, a file of one, or the adapter.json that a path means. */
async function placeOf(path: string): Promise<{ readonly place: string; readonly isJson: boolean }> {
  if (!(await isFolder(path))) {
    return { place: path, isJson: path.endsWith(".json") && basename(path) !== PEFT_CONFIG };
  }
  // A run folder looks like a folder of named adapters, "best" and "adapter": it goes first, unless it is an adapter itself.
  if (!(await exists(join(path, PEFT_CONFIG)))) {
    for (const name of RUN_FOLDERS) {
      const place = join(path, name);
      if ((await exists(place)) && (await isPeftFolder(place))) return { place, isJson: false };
    }
    const place = join(path, JSON_FILE);
    if (await exists(place)) return { place, isJson: true };
  }
  return { place: path, isJson: false };
}

/** Is this folder an adapter, or a run with one, as far as names of files tell? */
export async function isAdapterFolder(path: string): Promise<boolean> {
  return (await isPeftFolder(path)) || (await exists(join(path, JSON_FILE)));
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (thrown) {
    if (systemCode(thrown) === "ENOENT" && parseHubName(path) !== undefined) {
      const hint = "name a folder or an adapter.json; a name on the Hub must be downloaded first";
      throw new RandloraError("file", `cannot read ${oneLine(path)}: no such file or folder`, hint);
    }
    return await naming(path, "read", Promise.reject(thrown));
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch {
    return false;
  }
}

/** What a path is, and where it begins: a run of full fine-tuning keeps its checkpoint in a folder of its own. */
interface Found {
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

/**
 * An adapter or a model as a path on this machine. What is on the Hub is fetched: an adapter whole, of a model what
 * `kind` asks for; where that is all that it takes, one that is in the cache serves as it is.
 * @throws RandloraError `file` when it is not there
 */
export async function adapterOrModel(text: string, kind: "model" | "config", context: Context): Promise<string> {
  const name = parseHubName(text);
  if (name === undefined) return await localPath(text, "model", context);
  try {
    return await localPath(text, "adapter", context);
  } catch (thrown) {
    // No adapter, as far as the list of its files goes.
    if (thrown instanceof HubFailure) throw thrown;
    const cached = await resolveModel(name, { offline: true }).catch(() => undefined);
    return (
      cached ??
      (await localPath(text, kind, context).catch(() => {
        throw thrown;
      }))
    );
  }
}
