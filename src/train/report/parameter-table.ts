import { visible } from "../../files/visible.ts";
import { formatNumber } from "../../terminal/format.ts";
import { formatTable } from "../../terminal/table.ts";
import type { MethodSummary } from "../../adapters/method/training.ts";

interface Group {
  readonly name: string;
  readonly shape: string;
  count: number;
  parameters: number;
}

/**
 * What is trained, one row for all modules that differ in their layer's number only: `model.layers.*.self_attn.q_proj`.
 *
 * @param markHead how headings are marked
 */
export function parameterTable(
  { modules, trainableParameters }: MethodSummary,
  columns: number,
  markHead: (text: string) => string,
): string {
  const groups = new Map<string, Group>();
  for (const module of modules) {
    const name = visible(module.name).replaceAll(/(^|\.)\d+(?=\.|$)/g, "$1*");
    const shape = module.shape.map((size) => formatNumber(size)).join(" × ");
    const key = `${name} ${shape} ${module.parameters}`;
    const group = groups.get(key) ?? { name, shape, count: 0, parameters: 0 };
    group.count++;
    group.parameters += module.parameters;
    groups.set(key, group);
  }
  const rows = [...groups.values()].map(({ name, shape, count, parameters }) => [
    name,
    formatNumber(count),
    shape,
    // Without numbers of their own modules have a share in those of all.
    parameters === 0 ? "shared" : formatNumber(parameters / count),
    parameters === 0 ? "" : formatNumber(parameters),
  ]);
  const total = ["all", formatNumber(modules.length), "", "", formatNumber(trainableParameters)];
  const head = ["trained", "modules", "shape of W", "each", "parameters"];
  return formatTable([...rows, total], { head, align: "lrrrr", columns, markHead });
}
