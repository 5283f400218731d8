import type { AdapterReport, BaseFit } from "./inspect-adapter.ts";
import type { ExpertCounts } from "./experts.ts";
import type { CheckpointReport } from "./inspect-checkpoint.ts";
import type { TensorCounts } from "./tensor-groups.ts";
import type { RandloraError } from "../../files/errors.ts";
import { visible } from "../../files/visible.ts";
import { attentionsOf } from "../../models/decoder/config.ts";
import type { ImageConfig } from "../../models/vision/config.ts";
import type { EncoderConfig } from "../../models/vision/encoder.ts";
import { formatAmount, formatBytes, formatNumber } from "../../terminal/format.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";

interface Page {
  readonly columns: number;
  readonly style: Style;
}

/** What every count is as JSON. */
function countsJson({ groups, layers, dtypes }: TensorCounts): object {
  return { dtypes, groups, layers };
}

function problemsJson(problems: readonly RandloraError[]): object {
  return { problems: problems.map(({ message }) => message) };
}

/** An adapter, for `--json`. */
export function adapterJson(report: AdapterReport): object {
  const { method, bases, trained, shared, fit } = report;
  return {
    kind: "adapter",
    path: report.path,
    format: report.format,
    peft_type: report.peftType ?? null,
    method: method?.name ?? null,
    rank: report.rank ?? null,
    alpha: report.alpha ?? null,
    targets: report.targets ?? null,
    only_layers: report.layers,
    base: report.base ?? null,
    generator: bases.generator ?? null,
    seed: bases.seed ?? null,
    bases: bases.origin,
    settings: report.settings,
    parameters: trained?.parameters ?? null,
    bytes: trained && shared ? trained.bytes + shared.bytes : null,
    bases_bytes: shared?.bytes ?? null,
    tensors: trained && shared ? trained.tensors + shared.tensors : null,
    ...(trained && countsJson(trained)),
    ...(fit && { fits: fit.base, modules: fit.modules, replaced: fit.replaced }),
    applicable: report.problems.length === 0,
    ...problemsJson(report.problems),
  };
}

/** The same for people. */
export function adapterText(report: AdapterReport, page: Page): string {
  const { method, rank, alpha, targets, layers, bases, trained, shared, fit, settings } = report;
  const name = method?.title ?? visible(report.peftType ?? "unknown");
  const size = [rank !== undefined && `rank ${rank}`, alpha !== undefined && `α ${alpha}`].filter(Boolean).join(", ");
  const drawn = [bases.generator, bases.seed === undefined ? undefined : `seed ${bases.seed}`].filter(
    (one) => one !== undefined,
  );
  const origin = { saved: "saved in the file", drawn: "drawn", none: "" }[bases.origin];
  const own = Object.entries(settings).filter(([, value]) => ["string", "number", "boolean"].includes(typeof value));
  const rows = [
    ["adapter", page.style.bold(name)],
    ["size", size],
    ["targets", visible(typeof targets === "string" ? targets : (targets ?? []).join(", "))],
    ["only layers", layers.join(", ")],
    ["base", visible(report.base ?? "")],
    ["bases", bases.origin === "none" ? "" : visible([origin, ...drawn].join(", "))],
    ["settings", own.map(([key, value]) => visible(`${key} ${String(value)}`)).join(", ")],
    ["parameters", trained === undefined ? "unknown" : formatNumber(trained.parameters)],
    ["stored", trained === undefined ? "" : storedText(trained, shared)],
    ["fits", fit === undefined ? "" : fitText(fit)],
    ...report.problems.map(({ message }) => ["cannot be applied", message]),
  ];
  const table = trained === undefined || trained.tensors === 0 ? "" : `\n${groupTable(trained, page)}`;
  return `${formatTable(
    rows.filter(([, value]) => value !== ""),
    { columns: page.columns },
  )}${table}`;
}

function fitText({ base, modules, replaced }: BaseFit): string {
  const whole = replaced.length === 0 ? "" : `, replaces ${visible(replaced.slice(0, 3).join(", "))}`;
  const more = replaced.length > 3 ? ` and ${replaced.length - 3} more` : "";
  return `${base}: adapts ${formatAmount(modules, "module")}${whole}${more}`;
}

function storedText(trained: TensorCounts, shared: TensorCounts | undefined): string {
  const bases = (shared?.bytes ?? 0) === 0 ? "" : `, and ${formatBytes(shared?.bytes ?? 0)} of bases`;
  return `${formatBytes(trained.bytes)} in ${formatAmount(trained.tensors, "tensor")} (${dtypesText(trained)})${bases}`;
}

function dtypesText({ dtypes }: TensorCounts): string {
  const known = Object.entries(dtypes);
  if (known.length === 1) return known.map(([dtype]) => dtype).join();
  return known.map(([dtype, { bytes }]) => `${dtype} ${formatBytes(bytes)}`).join(", ");
}

/** A checkpoint, for `--json`. Keys that only adapters have are null. */
export function checkpointJson(report: CheckpointReport): object {
  const { config, images, counts, shards } = report;
  return {
    kind: "checkpoint",
    path: report.path,
    method: null,
    rank: null,
    targets: null,
    generator: null,
    architectures: report.architectures,
    model_type: report.modelType ?? null,
    layer_count: config?.layers.length ?? images?.vision.encoder.layers ?? null,
    hidden_size: config?.hiddenSize ?? images?.vision.encoder.width ?? null,
    vocabulary_size: config?.vocabularySize ?? images?.text?.vocabularySize ?? null,
    context: config?.contextLength ?? images?.text?.contextLength ?? null,
    ...(images && {
      image_size: images.vision.image,
      patch_size: images.vision.patch,
      classes: images.labels.length === 0 ? null : images.labels,
    }),
    tied: report.tied ?? null,
    parameters: counts.parameters,
    experts: report.experts
      ? {
          count: report.experts.count,
          per_token: report.experts.chosen ?? null,
          parameters: report.experts.parameters,
          active_parameters: report.experts.active ?? null,
        }
      : null,
    bytes: counts.bytes,
    bytes_per_token: report.bytesOfToken ?? null,
    tensors: counts.tensors,
    weights: report.hasWeights,
    shards,
    ...countsJson(counts),
    runnable: (config ?? images) !== undefined && report.problems.length === 0,
    ...problemsJson(report.problems),
  };
}

/** The same for people. */
export function checkpointText(report: CheckpointReport, page: Page): string {
  const { config, counts, shards, tied, modelType, architectures } = report;
  const [attention] = config === undefined ? [] : attentionsOf(config);
  const sizes = config &&
    attention && [
      `${formatAmount(config.layers.length, "layer")} of ${formatNumber(config.hiddenSize)}`,
      formatAmount(attention.heads, "head"),
      ...(attention.kvHeads === attention.heads ? [] : [`${formatNumber(attention.kvHeads)} of keys and values`]),
      formatAmount(config.vocabularySize, "token"),
      `context ${formatNumber(config.contextLength)}`,
    ];
  const where = shards.length === 0 ? "" : ` in ${formatAmount(shards.length, "file")}`;
  const rows = [
    ["model", page.style.bold(visible(architectures.join(", ") || modelType || "unknown"))],
    ["type", visible(modelType ?? "")],
    ["sizes", sizes?.join(", ") ?? ""],
    ...(report.images === undefined ? [] : imageRows(report.images)),
    ["output matrix", tied === undefined ? "" : tied ? "tied to the embedding" : "of its own"],
    ["parameters", formatNumber(counts.parameters)],
    ["experts", report.experts === undefined ? "" : expertsText(report.experts)],
    [
      "stored",
      `${formatBytes(counts.bytes)}${where}, ${formatAmount(counts.tensors, "tensor")} (${dtypesText(counts)})`,
    ],
    ["read for a token", report.experts && report.bytesOfToken ? formatBytes(report.bytesOfToken) : ""],
    ["weights", report.hasWeights ? "" : "not here: by config.json"],
    ...report.problems.map(({ message }) => ["cannot be run", message]),
  ];
  const table = formatTable(
    rows.filter(([, value]) => value !== ""),
    { columns: page.columns },
  );
  return `${table}\n${groupTable(counts, page)}`;
}

function expertsText({ count, chosen, parameters, active }: ExpertCounts): string {
  const each =
    chosen === undefined ? `${formatNumber(count)} a layer` : `${chosen} of ${formatNumber(count)} for a token`;
  const going = active === undefined ? "" : `; a token goes through ${formatNumber(active)} parameters`;
  return `${each}, ${formatNumber(parameters)} parameters in all${going}`;
}

/** The sizes of a model of images. */
function imageRows({ vision, text, labels }: ImageConfig): string[][] {
  const layers = ({ layers: count, width, heads }: EncoderConfig) =>
    `${formatAmount(count, "layer")} of ${formatNumber(width)}, ${formatAmount(heads, "head")}`;
  const [image, patch] = [vision.image, vision.patch].map((size) => size.map((side) => formatNumber(side)).join(" × "));
  const texts = text && [
    layers(text.encoder),
    formatAmount(text.vocabularySize, "token"),
    `context ${formatNumber(text.contextLength)}`,
  ];
  return [
    ["images", `${layers(vision.encoder)}, ${image} pixels in patches of ${patch}`],
    ["texts", texts?.join(", ") ?? ""],
    ["classes", labels.length === 0 ? "" : formatNumber(labels.length)],
  ];
}

function groupTable({ groups, layers, parameters, tensors }: TensorCounts, { columns, style }: Page): string {
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

const MOST_RUNS = 8;
