import { METHOD_NAMES } from "../src/adapters/method-names.ts";
import type { BudgetWish } from "../src/analysis/budget.ts";
import { RandloraError } from "../src/errors.ts";
import { count, defineCommand, required, text } from "../src/options/command.ts";

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
    params: count({ topic: "Budget", help: "so many trained numbers, such as 500K or 10M" }),
    like: text({
      value: "METHOD:RANK",
      topic: "Budget",
      help: `as many as this method trains at this rank (or with so many bases): ${METHOD_NAMES.join(", ")}`,
    }),
    targets: text({
      value: "…",
      topic: "Method",
      help: "names of modules with commas between them, all-linear, or a regular expression",
      defaultText: "PEFT's for the architecture",
    }),
    layers: text({ value: "0-11,20", topic: "Method", help: "adapt these layers only" }),
  },
  async run({ model: given }, { params, like, targets, layers }, context) {
    const wish = readWish(params, like);
    const { readRun } = await import("../src/generate/default-model.ts");
    const { localPath } = await import("../src/options/places.ts");
    const { locateModel } = await import("../src/models/locate.ts");
    const { loadConfig, SUPPORTED_TYPES } = await import("../src/models/architectures/index.ts");
    const { readConfig } = await import("../src/models/config-file.ts");
    const { usualTargets } = await import("../src/train/resolve-settings.ts");
    const { parseLayers, readTargets } = await import("./finetune-settings.ts");
    const { planBudget } = await import("../src/analysis/budget.ts");
    const { plannedModel } = await import("../src/analysis/planned-model.ts");
    const { budgetJson, budgetText } = await import("../src/report/budget.ts");
    // A run stands for the model that it was made from.
    const { model } = await readRun(given);
    const { folder } = await locateModel(await localPath(model, "config", context));
    const json = await readConfig(folder, SUPPORTED_TYPES);
    const planned = plannedModel(await loadConfig(folder), json, model);
    const budget = planBudget(planned, wish, {
      targets: targets === undefined ? usualTargets(json.model_type) : readTargets(targets),
      layers: layers === undefined ? [] : parseLayers(layers),
    });
    context.result(budgetJson(budget, planned), () => budgetText(budget, planned, context));
  },
});

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
