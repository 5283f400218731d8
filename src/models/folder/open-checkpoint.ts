import { statSync } from "node:fs";
import { isGgufName } from "../../files/gguf/format.ts";
import { GgufFile } from "../../files/gguf/reader.ts";
import { RandloraError } from "../../files/errors.ts";
import { Checkpoint, type Divisions } from "../../files/safetensors/checkpoint.ts";
import type { WholeTensor } from "../../files/safetensors/header.ts";
import { loadConfig } from "../decoder/architectures/index.ts";
import { dividedExperts } from "../decoder/weight-plan.ts";
import { GgufTensors } from "../gguf/tensors.ts";
import { folderOf } from "./gguf-folder.ts";

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
