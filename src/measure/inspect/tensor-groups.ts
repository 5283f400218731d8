import { layerOf } from "../../adapters/base/targets.ts";
import type { RandloraError } from "../../files/errors.ts";
import type { Dtype } from "../../files/safetensors/dtype.ts";
import type { GgufBlocks } from "../../files/gguf/format.ts";
import { visible } from "../../files/visible.ts";
import { formatBytes, formatNumber } from "../../terminal/format.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";

/** What a tensor is stored as. */
type StoredAs = Dtype | GgufBlocks;

/** What is counted of a tensor. */
export interface CountedTensor {
  readonly name: string;
  readonly dtype: StoredAs;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** Tensors of one shape and type whose names differ in numbers alone: `model.layers.*.mlp.up_proj.weight`. */
export interface TensorGroup {
  readonly name: string;
  readonly dtype: StoredAs;
  readonly shape: readonly number[];
  readonly tensors: number;
  /** Numbers in all of them. */
  readonly parameters: number;
  readonly bytes: number;
}

/** Numbers and bytes of tensors, in all and by what they have in common. */
export interface TensorCounts {
  readonly tensors: number;
  readonly parameters: number;
  readonly bytes: number;
  /** In the order in which their first tensors come. */
  readonly groups: readonly TensorGroup[];
  /** By layer, in ascending order; what stands in none is left out. */
  readonly layers: readonly { readonly layer: number; readonly parameters: number }[];
  readonly dtypes: Readonly<Partial<Record<StoredAs, { readonly parameters: number; readonly bytes: number }>>>;
}

/** Counts tensors. A tensor's layer is the first number among the segments of its name. */
export function countTensors(all: Iterable<CountedTensor>): TensorCounts {
  const groups = new Map<string, { -readonly [K in keyof TensorGroup]: TensorGroup[K] }>();
  const layers = new Map<number, number>();
  const dtypes: Partial<Record<StoredAs, { parameters: number; bytes: number }>> = {};
  const sum = { tensors: 0, parameters: 0, bytes: 0 };
  for (const { name, dtype, shape, bytes } of all) {
    const elements = shape.reduce((product, size) => product * size, 1);
    const kind = name.replaceAll(/(^|\.)\d+(?=\.|$)/g, "$1*");
    const key = JSON.stringify([kind, dtype, shape]);
    const group = groups.get(key) ?? { name: kind, dtype, shape, tensors: 0, parameters: 0, bytes: 0 };
    groups.set(key, group);
    const ofDtype = (dtypes[dtype] ??= { parameters: 0, bytes: 0 });
    for (const one of [group, ofDtype, sum]) {
      one.parameters += elements;
      one.bytes += bytes;
    }
    group.tensors++;
    sum.tensors++;
    const layer = layerOf(name);
    if (layer !== undefined) layers.set(layer, (layers.get(layer) ?? 0) + elements);
  }
  return {
    ...sum,
    groups: [...groups.values()],
    layers: [...layers].map(([layer, parameters]) => ({ layer, parameters })).toSorted((a, b) => a.layer - b.layer),
    dtypes,
  };
}

/** What a report is written for. */
export interface Page {
  readonly columns: number;
  readonly style: Style;
}

/** Runs of equal layers that are told. */
const MOST_RUNS = 8;

/** What every count is as JSON. */
type CountsJson = Pick<TensorCounts, "dtypes" | "groups" | "layers">;

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
