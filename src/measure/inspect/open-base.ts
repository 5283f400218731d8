import { existsSync } from "node:fs";
import { type BaseModel, describeBase } from "../../adapters/base/base.ts";
import { RandloraError } from "../../files/errors.ts";
import { resolveModel } from "../../files/hub/resolve.ts";
import { readRun } from "../../chat/default-model.ts";
import { readConfig } from "../../models/folder/config-json.ts";
import { EMBEDDED } from "../../models/folder/embedded-name.ts";
import { locateModel } from "../../models/folder/locate.ts";
import { hubNameOf } from "../../models/folder/recorded.ts";
import { Checkpoint } from "../../files/safetensors/checkpoint.ts";

/** A base whose weights can be read, until it is disposed of. */
export interface OpenBase extends AsyncDisposable {
  readonly base: BaseModel;
  readonly checkpoint: Checkpoint;
}

/**
 * Opens the model at a path as an adapter's base.
 *
 * @param label names it in messages
 * @throws RandloraError `file`, `format`, `usage`
 */
export async function openBase(path: string, label = path): Promise<OpenBase> {
  const { folder, weights } = await locateModel(path);
  const checkpoint = await Checkpoint.open(weights ?? folder);
  try {
    const config = await readConfig(checkpoint.folder);
    const close = () => checkpoint.close();
    return { base: describeBase(checkpoint, config?.value, label), checkpoint, [Symbol.asyncDispose]: close };
  } catch (thrown) {
    await checkpoint.close();
    throw thrown;
  }
}

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
    if (name !== undefined) return await openBase(await resolveModel(name, { offline: true }), model);
    const isRecorded = typeof place !== "string" && model === EMBEDDED;
    if (!isRecorded && existsSync(model)) return await openBase(model);
    if (model !== EMBEDDED) return undefined;
    const { embeddedModel } = await import("../../models/folder/embedded.ts");
    return await openBase(await embeddedModel(), model);
  } catch (thrown) {
    // A name in a file is a hint: what is not there, or is no model, is not used.
    if (thrown instanceof RandloraError) return undefined;
    throw thrown;
  }
}
