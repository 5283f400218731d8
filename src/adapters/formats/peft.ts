import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { naming, oneLine, quote, shellWord } from "../../files/failure.ts";
import { nestsDeeper, scanJson } from "../../files/json.ts";
import { MAX_JSON_DEPTH, readJsonText } from "../../files/read-whole.ts";
import { SETTINGS_FILE } from "../../files/run-names.ts";
import { SafetensorsFile } from "../../files/safetensors/file.ts";
import { isObject, type JsonObject, parseLossless, toPlainObject } from "../../files/lossless-json.ts";
import { checkedMethod } from "../methods.ts";
import { shareTensors, fileTensor, type Tolerate, tolerated, tolerating } from "../files/tensors.ts";
import type { Adapter, AdapterTensor } from "../files/adapter.ts";

/** PEFT's file names. */
export const PEFT_CONFIG = "adapter_config.json";
export const PEFT_WEIGHTS = "adapter_model.safetensors";
const PEFT_PICKLE = "adapter_model.bin";

/** What PEFT's model wrapper puts before the base's own names. */
export const PEFT_PREFIX = "base_model.model.";
/** The metadata key under which we keep what adapter.json calls `bases`. */
export const BASES_KEY = "randlora_bases";

const MAX_CONFIG_BYTES = 64 * 2 ** 20;

/**
 * Opens a PEFT folder, or either of its two files. A folder that PEFT saved under another name than "default" holds the
 * files one level deeper. Throws `RandloraError` "file", "format" or "adapter" (a method or a file that is not
 * supported).
 *
 * @param tolerate told of whatever is wrong but the configuration's being no JSON; what can be read is then given
 */
export async function openPeft(path: string, tolerate?: Tolerate): Promise<Adapter> {
  const folder = await findFolder(path);
  const configFile = join(folder, PEFT_CONFIG);
  const config = await readJsonObject(configFile, MAX_CONFIG_BYTES);
  const settings = toPlainObject(config);
  const method = checkedMethod({ config, settings, configFile }, tolerate);
  const file = await openWeights(folder).catch((thrown: unknown) => tolerated(tolerate, thrown));
  if (file === undefined)
    return closedAdapter({ path, file: join(folder, PEFT_WEIGHTS), configFile, config, settings });
  try {
    const metadata = new Map(file.header.metadata);
    const bases = tolerating(tolerate, () => parseBases(metadata.get(BASES_KEY), file.path));
    metadata.delete(BASES_KEY);
    metadata.delete("format");
    const read = readTensors(file);
    const one = tolerating(tolerate, () => shareTensors(read, method ?? NOTHING_SHARED, file.path)) ?? read;
    const tensors = indexByName(one, file.path);
    const close = () => file.close();
    return {
      path,
      file: file.path,
      configFile,
      format: "peft",
      config,
      settings,
      bases,
      tensors,
      metadata,
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (thrown) {
    await file.close();
    throw thrown;
  }
}

const NOTHING_SHARED = { shared: [] };

/** An adapter of which only the configuration can be read. */
function closedAdapter(known: Pick<Adapter, "path" | "file" | "configFile" | "config" | "settings">): Adapter {
  const close = () => Promise.resolve();
  const nothing = { format: "peft", bases: undefined, tensors: new Map(), metadata: new Map() } as const;
  return { ...known, ...nothing, close, [Symbol.asyncDispose]: close };
}

/** Does this folder hold a PEFT adapter, here or one level deeper? */
export async function isPeftFolder(folder: string): Promise<boolean> {
  return (await isFile(join(folder, PEFT_CONFIG))) || (await namedAdapters(folder)).length > 0;
}

async function findFolder(path: string): Promise<string> {
  const isFolder = (await naming(path, "read", stat(path))).isDirectory();
  const folder = isFolder ? path : dirname(path);
  if (!isFolder && basename(path) !== PEFT_CONFIG && basename(path) !== PEFT_WEIGHTS) {
    const hint = `name a folder with ${PEFT_CONFIG} and ${PEFT_WEIGHTS}, or an adapter.json`;
    throw new RandloraError("format", `${oneLine(path)}: not a file of a PEFT adapter`, hint);
  }
  if (await isFile(join(folder, PEFT_CONFIG))) return folder;
  const names = isFolder ? await namedAdapters(folder) : [];
  const [name] = names;
  if (name !== undefined && names.length === 1) return join(folder, name);
  if (names.length > 1) {
    const cause = `${names.length} adapters: ${names.map(oneLine).join(", ")}`;
    throw new RandloraError("adapter", `${oneLine(folder)}: ${cause}`, "name the folder of one of them");
  }
  if (await isFile(join(folder, "config.json"))) {
    const hint = "the model comes first, adapters after it: randlora merge BASE ADAPTER";
    throw new RandloraError("file", `${oneLine(folder)}: a model, not an adapter: no ${PEFT_CONFIG}`, hint);
  }
  if (await isFile(join(folder, SETTINGS_FILE))) {
    const hint = `let it save one: randlora finetune --resume ${shellWord(folder)}`;
    throw new RandloraError("file", `${oneLine(folder)}: a run that has saved no adapter`, hint);
  }
  const hint = `an adapter is a folder with ${PEFT_CONFIG} and ${PEFT_WEIGHTS}, an adapter.json or a run`;
  throw new RandloraError("file", `${oneLine(folder)}: no ${PEFT_CONFIG}`, hint);
}

/** Subfolders that hold an adapter: those that were saved under a name. */
async function namedAdapters(folder: string): Promise<string[]> {
  const entries = await naming(folder, "read", readdir(folder, { withFileTypes: true }));
  const names: string[] = [];
  for (const entry of entries) {
    if (entry.isDirectory() && (await isFile(join(folder, entry.name, PEFT_CONFIG)))) names.push(entry.name);
  }
  return names.toSorted();
}

async function openWeights(folder: string): Promise<SafetensorsFile> {
  const path = join(folder, PEFT_WEIGHTS);
  if (!(await isFile(path)) && (await isFile(join(folder, PEFT_PICKLE)))) {
    const hint = `load it with PEFT and save it with save_pretrained(..., safe_serialization=True)`;
    const cause = `${PEFT_PICKLE} holds pickled weights, which are not read`;
    throw new RandloraError("format", `${oneLine(folder)}: ${cause}`, hint);
  }
  return SafetensorsFile.open(path);
}

function parseBases(text: string | undefined, file: string): JsonObject | undefined {
  return text === undefined ? undefined : parseJsonObject(text, `${file}, metadata ${quote(BASES_KEY)}`);
}

function readTensors(file: SafetensorsFile): AdapterTensor[] {
  return file.header.byOffset.map((info) => {
    const name = info.name.startsWith(PEFT_PREFIX) ? info.name.slice(PEFT_PREFIX.length) : info.name;
    return fileTensor(file, info, name);
  });
}

/** Tensors by name. Throws when two names differ by PEFT's prefix alone. */
export function indexByName(tensors: readonly AdapterTensor[], file: string): ReadonlyMap<string, AdapterTensor> {
  const byName = new Map<string, AdapterTensor>();
  for (const tensor of tensors) {
    if (byName.has(tensor.name)) {
      const cause = `${quote(tensor.name)} is there with and without ${quote(PEFT_PREFIX)}`;
      throw new RandloraError("format", `${oneLine(file)}: ${cause}`, "the file mixes two adapters");
    }
    byName.set(tensor.name, tensor);
  }
  return byName;
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

/**
 * Reads a file that holds one JSON object, numbers kept as they are written. Throws `RandloraError` "file" when it
 * cannot be read, "format" when it is larger than `maxBytes`, no UTF-8, no JSON object, or names a key twice.
 */
export async function readJsonObject(path: string, maxBytes: number): Promise<JsonObject> {
  return parseJsonObject(await readJsonText(path, maxBytes, "the file is damaged, or no JSON file"), path);
}

/** As {@link readJsonObject} from a text; `where` is named in errors. */
function parseJsonObject(text: string, where: string): JsonObject {
  if (nestsDeeper(text, MAX_JSON_DEPTH)) {
    const cause = `its arrays and objects are nested more than ${MAX_JSON_DEPTH} deep`;
    throw new RandloraError("format", `${oneLine(where)}: ${cause}`, "this is no adapter's file");
  }
  let value;
  try {
    value = parseLossless(text);
  } catch (thrown) {
    const cause = thrown instanceof Error ? oneLine(thrown.message) : "?";
    throw new RandloraError("format", `${oneLine(where)}: not JSON (${cause})`, "the file is damaged or incomplete");
  }
  if (!isObject(value))
    throw new RandloraError("format", `${oneLine(where)}: not a JSON object`, "this is no adapter's file");
  const { duplicate } = scanJson(text);
  if (duplicate === undefined) return value;
  const cause = `it names ${duplicate.map(quote).join(" / ")} twice`;
  throw new RandloraError("format", `${oneLine(where)}: ${cause}`, "leave one of them");
}
