import * as v from "valibot";
import { statSync } from "node:fs";
import { isGgufName } from "../../files/gguf/format.ts";
import { GgufFile } from "../../files/gguf/reader.ts";
import { RandloraError } from "../../files/errors.ts";
import { Checkpoint, type Divisions } from "../../files/safetensors/checkpoint.ts";
import type { WholeTensor } from "../../files/safetensors/header.ts";
import { architectureOf, loadConfig } from "../decoder/architectures/index.ts";
import { dividedExperts } from "../decoder/weight-plan.ts";
import { GgufTensors } from "../gguf/tensors.ts";
import { join } from "node:path";
import { showPathAs } from "../../files/shown-paths.ts";
import { tokenizerFiles } from "../../data/text/gguf/tokenizer-files.ts";
import { unpacked } from "./unpacked.ts";
import { brief, quote } from "../../files/failure.ts";
import { GgufFields } from "../../files/gguf/metadata.ts";
import { ConfigJson } from "../decoder/config-file.ts";
import { fieldsOf } from "../gguf/fields.ts";
import { readGgufConfig } from "../gguf/read-config.ts";

/**
 * Opens a model's weights: a folder, an index.json or one .safetensors file as `Checkpoint.open`, with tensors of all experts
 * as those of each, or a GGUF file, whose tensors are those of the model's own checkpoint.
 * @throws RandloraError `file`, `format`; `model` for a GGUF file that is not supported
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  if (!isGgufFile(path)) return await Checkpoint.open(path, divisionsOf);
  const file = await GgufFile.open(path);
  try {
    const folder = await folderOf(file);
    return Checkpoint.of(folder, new GgufTensors(file, await loadConfig(folder)));
  } catch (thrown) {
    await file.close();
    throw thrown;
  }
}

/** What to do with tensors of all experts; nothing in a model that cannot be run, as whoever runs it will say. */
async function divisionsOf(folder: string, tensors: readonly WholeTensor[]): Promise<Divisions> {
  if (!tensors.some(({ shape }) => shape.length === 3)) return new Map();
  try {
    return dividedExperts(await loadConfig(folder), tensors);
  } catch (thrown) {
    if (thrown instanceof RandloraError) return new Map();
    throw thrown;
  }
}

/** A folder may be called so, too. */
export function isGgufFile(path: string): boolean {
  return isGgufName(path) && statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true;
}

/**
 * The folder with what a GGUF file says beside its weights, as a model folder has it: config.json, tokenizer, chat template.
 * The weights stay in the file (`openCheckpoint`).
 * @throws RandloraError `file`, `format`, or `model` for what is not supported
 */
export async function ggufFolder(path: string): Promise<string> {
  await using file = await GgufFile.open(path);
  return await folderOf(file);
}

/** The same of a file that is open. */
export async function folderOf(file: GgufFile): Promise<string> {
  const files = { "config.json": await checkedGgufConfig(file), ...tokenizerFiles(file.header.metadata, file.path) };
  const contents = new Map(
    Object.entries(files).map(([name, json]) => [name, Buffer.from(`${JSON.stringify(json)}\n`)]),
  );
  const folder = await unpacked("gguf", "model", contents, file.path);
  // Nobody has written these files.
  for (const name of contents.keys()) showPathAs(join(folder, name), file.path);
  return folder;
}

/** Settings that have another name than `fieldsOf` has for them. */
const RENAMED: Readonly<Record<string, keyof ConfigJson>> = {
  num_experts: "num_local_experts",
  top_k_experts: "num_experts_per_tok",
};

/**
 * `readGgufConfig`, whose numbers are those of a model: what is none is refused by the file's own name for it.
 * @throws RandloraError as `readGgufConfig`
 */
async function checkedGgufConfig(file: GgufFile): Promise<Readonly<Record<string, unknown>>> {
  const json = await readGgufConfig(file);
  const named = architectureOf(String(json["model_type"]))?.settings?.(json) ?? json;
  const { issues: [issue] = [] } = v.safeParse(ConfigJson, named);
  if (issue === undefined) return json;
  const fields = new GgufFields(file.header.metadata, file.path);
  const setting = v.getDotPath(issue) ?? "";
  const arch = fields.string("general.architecture") ?? "";
  const field = fieldsOf(arch).find((one) => one.setting === (RENAMED[setting] ?? setting));
  const what = field === undefined ? setting : `metadata entry ${quote(`${arch}.${field.key}`)}`;
  throw fields.broken(`${what}: ${brief(issue.message)}`);
}
