import { statSync } from "node:fs";
import { isGgufName } from "../../files/gguf/format.ts";
import { GgufFile } from "../../files/gguf/reader.ts";
import { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { loadConfig } from "../decoder/architectures/index.ts";
import { GgufTensors } from "../gguf/tensors.ts";
import { folderOf } from "./gguf-folder.ts";

/**
 * Opens a model's weights: a folder, an index.json or one .safetensors file as `Checkpoint.open`, or a GGUF file, whose
 * tensors are those of the model's own checkpoint.
 * @throws RandloraError `file`, `format`; `model` for a GGUF file that is not supported
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  if (!isGgufFile(path)) return await Checkpoint.open(path);
  const file = await GgufFile.open(path);
  try {
    const folder = await folderOf(file);
    return Checkpoint.of(folder, new GgufTensors(file, await loadConfig(folder)));
  } catch (thrown) {
    await file.close();
    throw thrown;
  }
}

/** A folder may be called so, too. */
export function isGgufFile(path: string): boolean {
  return isGgufName(path) && statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true;
}
