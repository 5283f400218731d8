import { join } from "node:path";
import { showPathAs } from "../../files/shown-paths.ts";
import { GgufFile } from "../../files/gguf/reader.ts";
import { tokenizerFiles } from "../../data/text/gguf/tokenizer-files.ts";
import { checkedGgufConfig } from "../gguf/checked-config.ts";
import { unpacked } from "./unpacked.ts";

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
