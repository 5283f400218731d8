import { type ModelConfig, readConfig } from "../../models/folder/config-json.ts";
import { openCheckpoint } from "../../models/folder/open-checkpoint.ts";
import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { RandloraError } from "../../files/errors.ts";
import { architectureOf, loadConfig } from "../../models/decoder/architectures/index.ts";
import { isOfOtherPart } from "../../models/decoder/config.ts";
import { type BaseModel, describeBase, modelTypeOf } from "./base.ts";
import { textPartOf } from "./module-paths.ts";

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
    const described = describeBase(checkpoint, config?.value, label);
    const base = { ...described, unread: await unreadOf(described, checkpoint.folder) };
    return { base, checkpoint, config, [Symbol.asyncDispose]: () => checkpoint.close() };
  } catch (thrown) {
    await checkpoint.close();
    throw thrown;
  }
}

/** What a file has in a decoder's place and the model does not read: keys of layers that attend with those of others. */
async function unreadOf(base: BaseModel, folder: string): Promise<ReadonlySet<string>> {
  if (architectureOf(modelTypeOf(base) ?? "") === undefined) return new Set();
  const begin = textPartOf(base)?.begin ?? "";
  try {
    const config = await loadConfig(folder);
    return new Set([...base.tensors.keys()].filter((name) => name.startsWith(begin) && isOfOtherPart(config, name)));
  } catch (thrown) {
    // A model that cannot be run may be merged all the same.
    if (thrown instanceof RandloraError) return new Set();
    throw thrown;
  }
}
