import { type ModelConfig, readConfig } from "../../models/folder/config-json.ts";
import { openCheckpoint } from "../../models/folder/open-checkpoint.ts";
import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { RandloraError } from "../../files/errors.ts";
import { architectureOf, loadConfig } from "../../models/decoder/architectures/index.ts";
import { isOfOtherPart } from "../../models/decoder/config.ts";
import { type BaseModel, describeBase, modelTypeOf } from "./base.ts";
import { textPartOf } from "./module-paths.ts";
import { existsSync } from "node:fs";
import { resolveModel } from "../../files/hub/resolve.ts";
import { EMBEDDED, hubNameOf, locateModel, readRun, type ModelLocation } from "../../models/folder/locate.ts";
import { type AskedTargets, findTargets, type TargetModule } from "./target-modules.ts";

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

/**
 * Opens the model at a path, which may be a full run, as an adapter's base.
 *
 * @param label names it in messages
 * @throws RandloraError `file`, `format`, `usage`
 */
export async function openModel(path: string, label = path): Promise<OpenBase> {
  const { folder, weights } = await locateModel(path);
  return await openBase(weights ?? folder, label);
}

/** Opens the base that an adapter is fitted to; `named`: what the adapter calls it. */
export type FindBase = (named: string | undefined) => Promise<OpenBase | undefined>;

/**
 * The base that an adapter or its run names, where it is on this machine; nothing is fetched.
 *
 * @param path of the adapter or the run
 * @param named `base_model_name_or_path` of its configuration
 */
export async function openNamedBase(path: string, named: string | undefined): Promise<OpenBase | undefined> {
  try {
    const run = await readRun(path);
    const place = run.adapter === undefined ? named : run.place;
    const model = run.adapter === undefined ? named : run.model;
    if (place === undefined || model === undefined || model === "") return undefined;
    const name = hubNameOf(place);
    if (name !== undefined) return await openModel(await resolveModel(name, { offline: true }), model);
    const isRecorded = typeof place !== "string" && model === EMBEDDED;
    if (!isRecorded && existsSync(model)) return await openModel(model);
    if (model !== EMBEDDED) return undefined;
    const { embeddedModel } = await import("../../models/folder/embedded.ts");
    return await openModel(await embeddedModel(), model);
  } catch (thrown) {
    // A name in a file is a hint: what is not there, or is no model, is not used.
    if (thrown instanceof RandloraError) return undefined;
    throw thrown;
  }
}

/** The layers of a model that targets mean, by their shapes. @throws RandloraError `usage` when nothing is matched */
export type FindShapes = (wanted: AskedTargets) => readonly Pick<TargetModule, "out" | "in" | "experts">[];

/** Reads the headers of a model: what finds its layers needs no more. @throws RandloraError `file`, `format` */
export async function readShapes({ folder, weights }: ModelLocation): Promise<FindShapes> {
  await using opened = await openBase(weights ?? folder, folder);
  const { base } = opened;
  return (wanted) => findTargets(base, wanted, { parameters: true }).modules;
}
