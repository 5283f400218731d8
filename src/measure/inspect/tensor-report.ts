import type { TensorCounts } from "./tensor-groups.ts";
import type { RandloraError } from "../../files/errors.ts";
import { visible } from "../../files/visible.ts";
import { formatBytes, formatNumber } from "../../terminal/format.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";

/** What a report is written for. */
export interface Page {
  readonly columns: number;
  readonly style: Style;
}

/** Runs of equal layers that are told. */
const MOST_RUNS = 8;

/** What every count is as JSON. */
export type CountsJson = Pick<TensorCounts, "dtypes" | "groups" | "layers">;

export function countsJson({ groups, layers, dtypes }: TensorCounts): CountsJson {
  return { dtypes, groups, layers };
}

/** What cannot be done with it, as JSON. */
export function problemsJson(problems: readonly RandloraError[]): { readonly problems: readonly string[] } {
  return { problems: problems.map(({ message }) => message) };
}

/** The number formats of tensors, with bytes where there are several. */
export function dtypesText({ dtypes }: TensorCounts): string {
  const known = Object.entries(dtypes);
  if (known.length === 1) return known.map(([dtype]) => dtype).join();
  return known.map(([dtype, { bytes }]) => `${dtype} ${formatBytes(bytes)}`).join(", ");
}

/** A row for each group of tensors, and what each layer has. */
export function groupTable({ groups, layers, parameters, tensors }: TensorCounts, { columns, style }: Page): string {
  const rows = groups.map((group) => [
    visible(group.name),
    formatNumber(group.tensors),
    group.shape.map((size) => formatNumber(size)).join(" × "),
    group.dtype,
    formatNumber(group.parameters),
  ]);
  const total = ["all", formatNumber(tensors), "", "", formatNumber(parameters)];
  const head = ["tensors", "number", "shape", "type", "parameters"];
  const table = formatTable([...rows, total], { head, align: "lrrlr", columns, markHead: style.dim });
  return `${table}${layersText(layers)}`;
}

/** Layers one after another that have as much stand together. */
function layersText(layers: TensorCounts["layers"]): string {
  const runs: { first: number; last: number; parameters: number }[] = [];
  for (const { layer, parameters } of layers) {
    const run = runs.at(-1);
    if (run?.parameters === parameters && run.last === layer - 1) run.last = layer;
    else runs.push({ first: layer, last: layer, parameters });
  }
  if (runs.length === 0) return "";
  const parts = runs.slice(0, MOST_RUNS).map(({ first, last, parameters }) => {
    const name = first === last ? `layer ${first}` : `layers ${first} to ${last}`;
    return `${name}: ${formatNumber(parameters)}${first === last ? "" : " each"}`;
  });
  return `${parts.join("; ")}${runs.length > MOST_RUNS ? "; …" : ""}\n`;
}
