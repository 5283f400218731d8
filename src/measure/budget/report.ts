import { type Budget, type MethodBudget, TRAINED_BYTES } from "./budget.ts";
import type { PlannedModel } from "./planned-model.ts";
import { formatAmount, formatBytes, formatNumber, formatShare } from "../../terminal/format.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";

/** Further off than this a method is said not to reach the budget. */
const FAR = 0.05;

/** What a size is one of. */
const UNITS = { rank: "rank", bases: "number of bases" } as const;

/** @json budget */
interface BudgetJson {
  readonly budget: number;
  readonly targets: Budget["targets"];
  readonly modules: number;
  readonly model_parameters: number;
  readonly model_bytes: number;
  /** By name. */
  readonly methods: Readonly<Record<string, MethodJson>>;
}

interface MethodJson {
  readonly rank?: number;
  readonly bases?: number;
  readonly parameters: number;
  /** Part of the budget, negative below it. */
  readonly distance: number;
  /** Base as stored and 16 bytes a trainable parameter, without random bases and activations. */
  readonly memory_bytes: number;
  /** Operations of 1024 tokens or 32 images, without attention. */
  readonly step_flops: number;
}

export function budgetJson({ parameters, targets, modules, methods }: Budget, model: PlannedModel): BudgetJson {
  const entries = methods.map(({ name, size, ...rest }) => {
    const decided = size === undefined ? {} : { [size.setting]: size.value };
    return [
      name,
      {
        ...decided,
        parameters: rest.parameters,
        distance: rest.distance,
        memory_bytes: rest.bytes,
        step_flops: rest.flops,
      },
    ];
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
    `${formatNumber(method.flops / 1e9, method.flops < 1e10 ? 2 : 0)} GFLOP`,
    Math.abs(method.distance) > FAR && method.size !== undefined ? `no ${UNITS[method.size.setting]} comes nearer` : "",
  ]);
  const head = ["method", "size", "parameters", "of the model", "off by", "memory", "a step", ""];
  return [
    `${formatNumber(parameters)} trainable parameters in ${formatAmount(modules, "module")} (model: ${formatNumber(model.parameters)} parameters)\n`,
    formatTable(rows, { head, align: "llrrrrr", columns, markHead: style.dim }),
    `memory: the base in ${model.format} and ${TRAINED_BYTES} bytes a trainable parameter (value, gradient, AdamW's means)\n`,
    "random bases and activations come on top: `randlora finetune --dry-run` counts them\n",
    `a step: of ${model.step.of} in one micro-batch, attention left out; what that takes depends on the machine\n`,
  ].join("");
}

function against({ distance }: MethodBudget): string {
  const percent = 100 * Math.abs(distance);
  if (percent === 0) return "0 %";
  const digits = percent < 10 ? 2 : percent < 1000 ? 1 : 0;
  return `${distance < 0 ? "−" : "+"}${formatNumber(percent, digits)} %`;
}
