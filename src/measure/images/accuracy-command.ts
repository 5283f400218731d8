import { openImages } from "../../data/images/datasets/open.ts";
import type { ImageSet, Split } from "../../data/images/datasets/types.ts";
import { readPreprocessing } from "../../data/images/preprocessing.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { visible } from "../../files/visible.ts";
import { firstThenOthers, type Processes, ALONE, gatherComputed } from "../../mpi/processes.ts";
import { formatAmount, formatNumber } from "../../terminal/format.ts";
import type { Context } from "../../terminal/options/command.ts";
import { sharedByTasks } from "../../terminal/options/shared-parts.ts";
import { refuseOtherDevice } from "../../terminal/options/shared-work.ts";
import { showProfiled } from "../../terminal/profile.ts";
import { quantizedJson } from "../../terminal/quantized.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";
import type { AccuracyFlags, AccuracyJson } from "./options.ts";
import { chooseHead, findLoadedImageModel } from "./model-options.ts";
import { judge } from "../../train/model/task.ts";
import { type BatchOptions, imageBatches } from "./batches.ts";
import type { ImageClassifier } from "./classifier.ts";

/** Measures how well a model tells classes apart. @throws RandloraError `usage` without images; as `findLoadedImageModel` */
export async function evalImages(model: string, options: AccuracyFlags, context: Context<AccuracyJson>): Promise<void> {
  const { job, jobs, parts, ...asked } = options;
  await sharedByTasks(
    context,
    { job, jobs, parts },
    { COMMAND: "images", MODEL: model, ...asked },
    [],
    (processes, own) => evalShare(model, options, own, processes),
  );
}

/** The same, in each of the processes that share it. */
async function evalShare(
  model: string,
  { data, split, dataset, head, templates, batchSize, ...flags }: AccuracyFlags,
  context: Context,
  processes: Processes,
): Promise<void> {
  if (data === undefined) throw new RandloraError("usage", "--data is missing", "name the folder of the images");
  const asked = await chooseHead({ head, templates }, dataset);
  // What cannot be read is found out before a model is loaded.
  const all = await openSplit(data, split, dataset);
  await using resources = new AsyncDisposableStack();
  const found = await firstThenOthers(processes, () => findLoadedImageModel(model, flags, resources, context));
  const { folder } = found.location;
  const preprocessing = await readPreprocessing(folder);
  const opened = await found.open({ preprocessing, withoutText: asked.withoutText });
  await refuseOtherDevice(processes, opened.gpu);
  const classifier = resources.use(await asked.classifierOf(opened, all, folder));
  // A trained head has its own order of the classes, and may know more of them.
  const set = classifier.kind === "zero-shot" ? all : await openSplit(data, split, dataset, classifier.classes);
  const { signal } = context;
  const started = performance.now();
  const items = Math.ceil(set.labels.length / processes.size);
  using bar = context.progress({ title: "classifying", items, unit: "images" });
  const onImages = (count: number) => bar.add({ items: count });
  const measured = { preprocessing, batchSize, signal, onImages, processes };
  const scores = await measureAccuracy(classifier, set, measured);
  bar.close();
  const report = { ...scores, seconds: (performance.now() - started) / 1000 };
  const json = { ...accuracyJson(report), ...quantizedJson(opened.model.quantized) };
  await showProfiled(opened.gpu, context, json, () => accuracyText(report, context));
}

/** @throws {RandloraError} `data` without such a split; as `openImages` */
async function openSplit(
  data: string,
  split: Split,
  dataset: string | undefined,
  classes?: readonly string[],
): Promise<ImageSet> {
  const set = await openImages({ data, split, dataset, classes });
  if (set !== undefined) return set;
  const hint = `it takes ${split}/CLASS/*, ${split}.csv, ${split}.jsonl or ${split}.parquet; --split names another part`;
  throw new RandloraError("data", `${oneLine(data)}: no ${split} split`, hint);
}

/** What `eval images` found. */
interface AccuracyReport extends ImageScores {
  /** Of reading, preparing and classifying. */
  readonly seconds: number;
}

function accuracyJson({ images, accuracy, loss, perClass, seconds }: AccuracyReport): AccuracyJson {
  return {
    images,
    accuracy,
    loss,
    per_class: Object.fromEntries([...perClass].map(([name, part]) => [name, part ?? null])),
    seconds,
    images_per_s: seconds > 0 ? images / seconds : 0,
  };
}

/** A row a class, and what holds for all below. */
function accuracyText(report: AccuracyReport, { columns, style }: { columns: number; style: Style }): string {
  const { images, accuracy, loss, perClass, seconds } = report;
  const percent = (part: number | undefined) => (part === undefined ? "" : `${(100 * part).toFixed(2)} %`);
  const rows = [...perClass].map(([name, part]) => [visible(name), percent(part)]);
  const all = [...rows, ["all", percent(accuracy)]];
  const table = formatTable(all, { head: ["class", "accuracy"], align: "lr", columns, markHead: style.dim });
  const speed = `${formatNumber(images / seconds, 1)} a second`;
  return `${table}${formatAmount(images, "image")}, ${speed}; loss ${loss.toFixed(4)}\n`;
}

/** How well a classifier tells a set's images apart. */
interface ImageScores {
  readonly images: number;
  /** The part of the images whose likeliest class is theirs. */
  readonly accuracy: number;
  /** Mean cross-entropy, in nats. */
  readonly loss: number;
  /** The same part of each class, by its name; undefined for a class without images. */
  readonly perClass: ReadonlyMap<string, number | undefined>;
}

interface AccuracyOptions extends BatchOptions {
  /** Told after each batch how many images it had. */
  readonly onImages?: ((count: number) => void) | undefined;
}

/**
 * Classifies every image of a set. Of equal logits the first class counts, as torch's argmax has it.
 * @param set its labels are rows of the classifier's head
 * @throws RandloraError as `imageBatches`; `memory`, `gpu`
 */
export async function measureAccuracy(
  classifier: ImageClassifier,
  set: ImageSet,
  { onImages, ...options }: AccuracyOptions,
): Promise<ImageScores> {
  const count = set.labels.length;
  const seen = new Uint32Array(set.classes.length);
  const right = new Uint32Array(set.classes.length);
  let loss = 0;
  // Of each image its label, its loss, and whether it is taken for what it is.
  const all = await gatherComputed(options.processes ?? ALONE, async () => {
    const own: number[] = [];
    for await (const { images, labels } of imageBatches(set, options)) {
      const logits = await classifier.logits(images);
      for (const [at, label] of labels.entries()) {
        const verdict = judge(logits[at] ?? new Float32Array(), label);
        own.push(label, verdict.loss, Number(verdict.isRight));
      }
      onImages?.(labels.length);
    }
    return own;
  });
  for (let at = 0; at < all.length; at += 3) {
    const [label = 0, lost = NaN, isRight = 0] = all.slice(at, at + 3);
    loss += lost / count;
    seen[label] = (seen[label] ?? 0) + 1;
    right[label] = (right[label] ?? 0) + isRight;
  }
  const part = (label: number) => (seen[label] === 0 ? undefined : (right[label] ?? 0) / (seen[label] ?? NaN));
  return {
    images: count,
    accuracy: right.reduce((sum, number) => sum + number, 0) / count,
    loss,
    perClass: new Map(set.classes.map((name, label) => [name, part(label)])),
  };
}
