import { GgufFile } from "../../files/gguf/reader.ts";
import { tokenizerFiles } from "../../data/text/gguf/tokenizer-files.ts";
import { readGgufConfig } from "../gguf/read-config.ts";
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
  const files = { "config.json": await readGgufConfig(file), ...tokenizerFiles(file.header.metadata, file.path) };
  const contents = Object.entries(files).map(
    ([name, json]) => [name, Buffer.from(`${JSON.stringify(json)}\n`)] as const,
  );
  return await unpacked("gguf", "model", new Map(contents), file.path);
}
