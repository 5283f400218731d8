import { type ModelConfig, readConfig } from "../../models/folder/config-json.ts";
import { openCheckpoint } from "../../models/folder/open-checkpoint.ts";
import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { type BaseModel, describeBase } from "./base.ts";

/** A model that adapters are fitted to: its headers and its config.json have been read. */
export interface OpenBase extends AsyncDisposable {
  readonly base: BaseModel;
  readonly checkpoint: Checkpoint;
  readonly config: ModelConfig | undefined;
}

/**
 * Opens a model's weights as an adapter's base.
 *
 * @param path of a model folder, an index.json, or one .safetensors or .gguf file
 * @param label names it in messages
 * @throws RandloraError `file`, `format`
 */
export async function openBase(path: string, label = path): Promise<OpenBase> {
  const checkpoint = await openCheckpoint(path);
  try {
    const config = await readConfig(checkpoint.folder);
    const base = describeBase(checkpoint, config?.value, label);
    return { base, checkpoint, config, [Symbol.asyncDispose]: () => checkpoint.close() };
  } catch (thrown) {
    await checkpoint.close();
    throw thrown;
  }
}
