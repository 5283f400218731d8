import type { AdapterSettings } from "../../adapters/method/settings.ts";
import { RandloraError } from "../../files/errors.ts";
import { isGgufName } from "../../files/gguf/format.ts";
import { loadConfigs } from "../../models/decoder/architectures/index.ts";
import { locateModel, readRun } from "../../models/folder/locate.ts";
import { localPath } from "../../models/folder/local-path.ts";
import { isOfImages } from "../../models/vision/index.ts";
import type { Context } from "../../terminal/options/command.ts";
import { given } from "../../train/command/settings.ts";
import { kindOf } from "../../train/images/task.ts";
import { resolveImages } from "../../train/settings/images.ts";
import { refuseOfOtherModels, usualTargets } from "../../train/settings/resolve-settings.ts";
import type { FlatSettings } from "../../train/settings/settings.ts";
import { budgetJson, budgetText, type BudgetWish, planBudget } from "./budget.ts";
import { plannedImages, type PlannedModel, plannedModel, promisedModel, storedInGguf } from "./planned-model.ts";

/** What `randlora budget` is told. */
export interface BudgetFlags extends ImageFlags {
  readonly params: number | undefined;
  readonly like: string | undefined;
  readonly targets: AdapterSettings["targets"] | undefined;
  readonly layers: AdapterSettings["layers"] | undefined;
}

type ImageFlags = { readonly [K in "task" | "head" | "towers"]: FlatSettings[K] | undefined };

/** Shows which rank of each method trains so many parameters. @param named a model, or a run, which stands for its own */
export async function showBudget(
  named: string,
  { params, like, targets, layers, ...images }: BudgetFlags,
  context: Context,
): Promise<void> {
  const wish = readWish(params, like);
  // A run stands for the model that it was made from.
  const { model, place } = await readRun(named);
  const { folder, weights } = await locateModel(await localPath(place, "config", context));
  const { planned: promised, modelType } = await readPlanned(folder, model, given(images));
  const isGguf = weights !== undefined && isGgufName(weights);
  const planned = isGguf ? { ...promised, ...(await storedInGguf(weights)) } : promised;
  const budget = planBudget(planned, wish, {
    targets: targets ?? usualTargets(modelType),
    layers: layers ?? [],
  });
  context.result(budgetJson(budget, planned), () => budgetText(budget, planned, context));
}

/**
 * What config.json says of the model; `path` names it in messages.
 *
 * @throws {RandloraError} `file`, `format`, `model`; `usage` for settings of images that the model cannot have
 */
async function readPlanned(
  folder: string,
  path: string,
  asked: Partial<Pick<FlatSettings, "task" | "head" | "towers">>,
): Promise<{ readonly planned: PlannedModel; readonly modelType: string }> {
  if (await isOfImages(folder)) {
    const { config, json } = await promisedModel(folder);
    const facts = { texts: config.text !== undefined, learningRate: 0, gradAccum: 1 };
    const planned = plannedImages(config, kindOf(resolveImages(asked, facts)), json, path);
    return { planned, modelType: config.architecture };
  }
  refuseOfOtherModels(asked, {});
  const { config, json } = await loadConfigs(folder);
  return { planned: plannedModel(config, json, path), modelType: json.model_type };
}

/** @throws {RandloraError} `usage` */
function readWish(params: number | undefined, like: string | undefined): BudgetWish {
  if ((params === undefined) === (like === undefined)) {
    const cause = params === undefined ? "--params or --like is missing" : "--params and --like: both are a budget";
    throw new RandloraError("usage", cause, "write --params 10M, or --like METHOD:32");
  }
  if (params !== undefined) return { parameters: params };
  const [, method, size] = /^([a-z]+)(?::([1-9]\d{0,8}))?$/.exec(like ?? "") ?? [];
  if (method !== undefined) return { method, size: size === undefined ? undefined : Number(size) };
  throw new RandloraError("usage", `--like ${like}: not a method with its rank`, "write --like METHOD:32");
}
