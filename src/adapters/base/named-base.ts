import { existsSync } from "node:fs";
import { RandloraError } from "../../files/errors.ts";
import { resolveModel } from "../../files/hub/resolve.ts";
import { EMBEDDED, hubNameOf, readRun } from "../../models/folder/run.ts";
import { locateModel } from "../../models/folder/locate.ts";
import { openBase, type OpenBase } from "./open-base.ts";

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
