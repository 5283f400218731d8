import { type Budget, type MethodBudget, TRAINED_BYTES } from "../analysis/budget.ts";
import type { PlannedModel } from "../analysis/planned-model.ts";
import { formatBytes, formatNumber, formatShare } from "../terminal/format.ts";
import type { Style } from "../terminal/style.ts";
import { formatTable } from "../terminal/table.ts";

/** Further off than this a method is said not to reach the budget. */
const FAR = 0.05;

/** `randlora budget --json`. */
export function budgetJson({ parameters, targets, modules, methods }: Budget, model: PlannedModel): object {
  const entries = methods.map(({ name, size, ...rest }) => {
    const decided = size === undefined ? {} : { [size.setting]: size.value };
    return [name, { ...decided, parameters: rest.parameters, distance: rest.distance, memory_bytes: rest.bytes }];
  });
  return {
    budget: parameters,
    targets,
    modules,
    model_parameters: model.parameters,
    model_bytes: model.bytes,
    methods: Object.fromEntries(entries),
  };
}

/** The same for people. */
export function budgetText(
  { parameters, modules, methods }: Budget,
  model: PlannedModel,
  { columns, style }: { readonly columns: number; readonly style: Style },
): string {
  const rows = methods.map((method) => [
    method.name,
    method.size === undefined ? "" : `${method.size.setting} ${formatNumber(method.size.value)}`,
    formatNumber(method.parameters),
    formatShare(method.parameters / model.parameters),
    against(method),
    formatBytes(method.bytes),
    Math.abs(method.distance) > FAR && method.size !== undefined ? `no ${method.size.setting} comes nearer` : "",
  ]);
  const head = ["method", "size", "parameters", "of the model", "off by", "memory", ""];
  const dtype = model.dtype.toLowerCase();
  return [
    `${formatNumber(parameters)} trained numbers in ${formatNumber(modules)} modules of ${formatNumber(model.parameters)} numbers\n`,
    formatTable(rows, { head, align: "llrrrr", columns, markHead: style.dim }),
    `memory: the base in ${dtype} and ${TRAINED_BYTES} bytes a trained number (value, gradient, AdamW's means)\n`,
    "random bases and activations come on top: `randlora finetune --dry-run` counts them; time is not estimated\n",
  ].join("");
}

function against({ distance }: MethodBudget): string {
  const percent = 100 * Math.abs(distance);
  if (percent === 0) return "0 %";
  const digits = percent < 10 ? 2 : percent < 1000 ? 1 : 0;
  return `${distance < 0 ? "−" : "+"}${formatNumber(percent, digits)} %`;
}
