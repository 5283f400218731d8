import type { ExpertCounts, CheckpointReport } from "./inspect-checkpoint.ts";
import { countsJson, dtypesText, groupTable, type Page, problemsJson } from "./tensor-groups.ts";
import { visible } from "../../files/visible.ts";
import { attentionsOf } from "../../models/decoder/config.ts";
import type { ImageConfig } from "../../models/vision/config.ts";
import type { EncoderConfig } from "../../models/vision/encoder.ts";
import { formatAmount, formatBytes, formatNumber } from "../../terminal/format.ts";
import { formatTable } from "../../terminal/table.ts";

/**
 * A checkpoint, for `--json`. What is not known is null.
 * @json inspect (checkpoint)
 */
interface CheckpointJson {
  readonly kind: "checkpoint";
  readonly path: string;
  readonly method: null;
  readonly rank: null;
  readonly targets: null;
  readonly generator: null;
  readonly architectures: readonly string[];
  readonly model_type: string | null;
  readonly layer_count: number | null;
  readonly hidden_size: number | null;
  readonly vocabulary_size: number | null;
  readonly context: number | null;
  /** As the next two of CLIP and DINOv2. */
  readonly image_size?: readonly number[];
  readonly patch_size?: readonly number[];
  readonly classes?: readonly string[] | null;
  readonly tied: boolean | null;
  readonly parameters: number;
  readonly experts: {
    /** Of a layer. */
    readonly count: number;
    readonly per_token: number | null;
    /** In all experts. */
    readonly parameters: number;
    /** Of the model, for one token. */
    readonly active_parameters: number | null;
  } | null;
  readonly bytes: number;
  /** Read for a decoded token. */
  readonly bytes_per_token: number | null;
  readonly tensors: number;
  /** On this machine? */
  readonly weights: boolean;
  /** file, tensors, bytes. */
  readonly shards: readonly object[];
  readonly dtypes: object;
  readonly groups: readonly object[];
  readonly layers: readonly object[];
  readonly runnable: boolean;
  /** Why it cannot be run. */
  readonly problems: readonly string[];
}

export function checkpointJson(report: CheckpointReport): CheckpointJson {
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
