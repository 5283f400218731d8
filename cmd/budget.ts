import { METHOD_NAMES } from "../src/adapters/method-names.ts";
import type { BudgetWish } from "../src/measure/budget/budget.ts";
import type { PlannedModel } from "../src/measure/budget/planned-model.ts";
import { RandloraError } from "../src/files/errors.ts";
import { count, defineCommand, required, text } from "../src/terminal/options/command.ts";
import type { FlatSettings } from "../src/train/settings/settings.ts";
import { IMAGE_OPTIONS } from "../src/train/settings/image-options.ts";
import { ADAPTER_OPTIONS } from "../src/train/settings/options.ts";

/** `randlora budget MODEL (--params N | --like METHOD:RANK)`. */
export const command = defineCommand({
  name: "budget",
  otherNames: ["params", "parameters"],
  summary: "Show at which rank each method trains so many parameters",
  example: "randlora budget HuggingFaceTB/SmolLM2-135M-Instruct --like lora:16",
  arguments: {
    model: required("MODEL", "the model, of which config.json suffices: a folder, or org/name on the Hub"),
  },
  options: {
    params: count({
      topic: "Budget",
      help: "parameter budget: trainable parameters of each method, such as 500K or 10M",
    }),
    like: text({
      value: "METHOD:RANK",
      topic: "Budget",
      help: `parameter budget: as many as this method trains at this rank (or number of bases): ${METHOD_NAMES.join(", ")}`,
    }),
    targets: ADAPTER_OPTIONS.targets,
    layers: ADAPTER_OPTIONS.layers,
    task: IMAGE_OPTIONS.task,
    head: IMAGE_OPTIONS.head,
    towers: IMAGE_OPTIONS.towers,
  },
  async run({ model: named }, { params, like, targets, layers, ...images }, context) {
    const wish = readWish(params, like);
    const { readRun } = await import("../src/chat/default-model.ts");
    const { localPath } = await import("../src/models/folder/places.ts");
    const { locateModel } = await import("../src/models/folder/locate.ts");
    const { usualTargets } = await import("../src/train/settings/resolve-settings.ts");
    const { given } = await import("../src/train/command/settings.ts");
    const { planBudget } = await import("../src/measure/budget/budget.ts");
    const { budgetJson, budgetText } = await import("../src/measure/budget/report.ts");
    // A run stands for the model that it was made from.
    const { model, place } = await readRun(named);
    const { folder } = await locateModel(await localPath(place, "config", context));
    const { planned, modelType } = await readPlanned(folder, model, given(images));
    const budget = planBudget(planned, wish, {
      targets: targets ?? usualTargets(modelType),
      layers: layers ?? [],
    });
    context.result(budgetJson(budget, planned), () => budgetText(budget, planned, context));
  },
});

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
  const { isOfImages } = await import("../src/models/vision/index.ts");
  if (await isOfImages(folder)) {
    const { plannedImages, promisedModel } = await import("../src/measure/budget/planned-images.ts");
    const { kindOf } = await import("../src/train/images/task.ts");
    const { resolveImages } = await import("../src/train/settings/images.ts");
    const { config, json } = await promisedModel(folder);
    const facts = { texts: config.text !== undefined, learningRate: 0, gradAccum: 1 };
    const planned = plannedImages(config, kindOf(resolveImages(asked, facts)), json, path);
    return { planned, modelType: config.architecture };
  }
  const { loadConfig, SUPPORTED_TYPES } = await import("../src/models/decoder/architectures/index.ts");
  const { readConfig } = await import("../src/models/decoder/config-file.ts");
  const { plannedModel } = await import("../src/measure/budget/planned-model.ts");
  const { refuseOfOtherModels } = await import("../src/train/settings/resolve-settings.ts");
  refuseOfOtherModels(asked, {});
  const json = await readConfig(folder, SUPPORTED_TYPES);
  return { planned: plannedModel(await loadConfig(folder), json, path), modelType: json.model_type };
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
