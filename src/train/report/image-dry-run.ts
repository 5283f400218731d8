import type { ImageSet } from "../../data/images/datasets/types.ts";
import { formatNumber } from "../../terminal/format.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";
import type { RunEstimate } from "../loop/finetune.ts";
import type { ImageData } from "../images/data.ts";
import { estimateText } from "./dry-run.ts";
import { type QuantizedJson, quantizedJson } from "../../terminal/quantized.ts";

/** What `finetune --dry-run` found out of a run on images. */
export interface ImageDryRun {
  readonly data: ImageData;
  readonly estimate: RunEstimate;
}

/**
 * `finetune --dry-run --json` on images.
 * @json finetune --dry-run (images)
 */
interface ImageDryRunJson extends QuantizedJson {
  readonly dry_run: true;
  readonly trainable_parameters: number;
  readonly samples: number;
  readonly valid_samples: number;
  readonly classes: number;
  readonly steps: number;
  readonly estimated_gpu_bytes: number;
  readonly estimated_disk_bytes: number;
}

export function imageDryRunJson({ data: { train, valid }, estimate }: ImageDryRun): ImageDryRunJson {
  return {
    dry_run: true,
    trainable_parameters: estimate.method.trainableParameters,
    samples: train.labels.length,
    valid_samples: valid?.labels.length ?? 0,
    classes: train.classes.length,
    steps: estimate.steps,
    estimated_gpu_bytes: estimate.estimatedGpuBytes,
    estimated_disk_bytes: estimate.estimatedDiskBytes,
    ...quantizedJson(estimate.method.quantized),
  };
}

/** The same for people: counts, the table of parameters, memory. */
export function imageDryRunText({ data, estimate }: ImageDryRun, columns: number, style: Style): string {
  const { train, valid } = data;
  const sets = [["training", train] as const, ["validation", valid] as const].flatMap(([name, set]) =>
    set === undefined ? [] : [setRow(name, set)],
  );
  const head = ["", "images", "classes", "of a class, at least", "at most"];
  const table = formatTable(sets, { head, align: "lrrrr", columns, markHead: style.dim });
  return `${table}\n${estimateText(estimate, columns, style)}`;
}

function setRow(name: string, { labels, classes }: ImageSet): string[] {
  const counts = new Uint32Array(classes.length);
  for (const label of labels) counts[label] = (counts[label] ?? 0) + 1;
  const [least, most] = [counts.reduce((a, b) => Math.min(a, b)), counts.reduce((a, b) => Math.max(a, b))];
  return [name, ...[labels.length, classes.length, least, most].map((count) => formatNumber(count))];
}
