import type { AdapterChoice } from "../../adapters/merge/loaded-adapter.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import { RandloraError } from "../../files/errors.ts";
import type { Log } from "../../terminal/log.ts";
import { runsWithoutTemplate } from "../../models/folder/runs-without-template.ts";
import type { LanguageModel } from "../language-model.ts";
import type { ServedModel } from "./job.ts";

/** How models are served. */
export interface ServedOptions {
  /** The id of the base. */
  readonly base: string;
  /** Merge adapters, whether or not they could stand beside the weights. */
  readonly merge: boolean;
  readonly generator: GeneratorName | undefined;
  /** Options ask for the chat template, however an adapter was trained. */
  readonly wantsTemplate: boolean;
  readonly log: Pick<Log, "info" | "warn">;
}

/**
 * Finds out how an adapter can be served: what does not fit is found now, not by the first client who asks for it.
 * @param source what it was named: a run says how it was trained
 * @throws RandloraError `adapter`, `file`, `format` where it cannot
 */
export async function servedAdapter(
  model: LanguageModel,
  { id, source, choice }: { readonly id: string; readonly source: string; readonly choice: AdapterChoice },
  options: ServedOptions,
): Promise<ServedModel> {
  const { base, merge, generator, log } = options;
  for (const line of await model.checkAdapters([choice], generator)) log.warn(`${id}: ${line}`);
  const cause = merge ? undefined : await hindrance(model, choice, generator);
  if (cause !== undefined) log.warn(`${id}: ${cause}: requests for it and for others wait for each other`);
  const weights = merge || cause !== undefined ? Symbol(id) : base;
  return { id, adapters: [choice], raw: await isRaw(model, id, source, options), weights };
}

/** Is the last message of a chat with this model continued as it stands, since it was trained without the chat template? */
export async function isRaw(
  { template }: LanguageModel,
  id: string,
  source: string,
  { wantsTemplate, log }: Pick<ServedOptions, "wantsTemplate" | "log">,
): Promise<boolean> {
  if (wantsTemplate || (await runsWithoutTemplate([source])).length === 0) return false;
  if (template === undefined) return true;
  log.info(`${id}: trained without the chat template: the last message of a chat is continued as it stands`);
  return true;
}

/** Why an adapter has no place beside the weights as others have; where weights are quantized, it may still have them for itself. */
async function hindrance(
  model: LanguageModel,
  choice: AdapterChoice,
  generator: GeneratorName | undefined,
): Promise<string | undefined> {
  try {
    await model.checkBeside([choice], generator);
    return undefined;
  } catch (thrown) {
    if (!(thrown instanceof RandloraError) || thrown.code !== "adapter") throw thrown;
    return thrown.message;
  }
}
