import { imageFiles } from "../../data/images/datasets/files.ts";
import { textsOf } from "../../data/images/datasets/types.ts";
import { readPreprocessing } from "../../data/images/preprocessing.ts";
import { promptTemplates, readNames } from "../../data/images/prompts.ts";
import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { visible } from "../../files/visible.ts";
import type { Context } from "../../terminal/options/command.ts";
import { quantizedJson, type QuantizedJson } from "../../terminal/quantized.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";
import { logProbabilities } from "../../train/model/task.ts";
import { imageBatches } from "./batches.ts";
import { ImageClassifier } from "./classifier.ts";
import { findLoadedImageModel } from "./model-options.ts";
import type { ImageModelFlags } from "./options.ts";

/** Images that go through the model at once. */
const AT_ONCE = 16;

/** What `randlora classify` is told. */
export interface ClassifyFlags extends ImageModelFlags {
  readonly labels: readonly string[] | undefined;
  readonly labelsFile: string | undefined;
  readonly top: number;
}

/** Says what images show. @throws RandloraError `usage` for classes that are named twice; as `findLoadedImageModel` */
export async function classify(
  model: string,
  images: readonly string[],
  { labels: given, labelsFile, top, ...flags }: ClassifyFlags,
  context: Context,
): Promise<void> {
  if (given !== undefined && labelsFile !== undefined) {
    const cause = "--labels and --labels-file both name the classes";
    throw new Contradiction(["labels", "labelsFile"], cause, "leave one of them out");
  }
  const labels = labelsFile === undefined ? given : await readNames(labelsFile);
  if (labels?.some((name) => name === "") === true) {
    throw new RandloraError("usage", "--labels: an empty name", "names with commas go into a file: --labels-file");
  }
  await using resources = new AsyncDisposableStack();
  const found = await findLoadedImageModel(model, flags, resources, context);
  const { folder } = found.location;
  const preprocessing = await readPreprocessing(folder);
  const opened = await found.open({ preprocessing, withoutText: labels === undefined });
  const classifier = resources.use(
    labels === undefined
      ? ImageClassifier.trained(opened)
      : await ImageClassifier.zeroShot(opened, {
          classes: labels,
          texts: textsOf(labels),
          templates: await promptTemplates("simple"),
          loadTokenizer: () => loadTokenizer(folder),
        }),
  );
  const classified: ClassifiedImage[] = [];
  const options = { preprocessing, batchSize: AT_ONCE, signal: context.signal };
  for await (const { images: batch } of imageBatches(imageFiles(images), options)) {
    for (const logits of await classifier.logits(batch)) {
      const classes = likeliest(classifier.classes, logProbabilities(logits), top);
      classified.push({ path: images[classified.length] ?? "", classes });
    }
  }
  const json: ClassifyJson = { images: classified, ...quantizedJson(opened.model.quantized) };
  context.result(json, () => classifyText(classified, context));
}

/** @json classify */
interface ClassifyJson extends QuantizedJson {
  readonly images: readonly ClassifiedImage[];
}

/** The likeliest classes of an image, the likeliest one first. */
interface ClassifiedImage {
  readonly path: string;
  /** Likeliest first: name, probability. */
  readonly classes: readonly { readonly name: string; readonly probability: number }[];
}

/** The `top` likeliest of some classes; of equal ones the first. @param logs the logarithms of their probabilities */
function likeliest(names: readonly string[], logs: Float64Array, top: number): ClassifiedImage["classes"] {
  const all = Array.from(logs, (log, at) => ({ name: names[at] ?? "", probability: Math.exp(log) }));
  return all.toSorted((a, b) => b.probability - a.probability).slice(0, top);
}

/** `classify`: a row a class, under the image's name. */
function classifyText(
  images: readonly ClassifiedImage[],
  { columns, style }: { columns: number; style: Style },
): string {
  const tables = images.map(({ path, classes }) => {
    const rows = classes.map(({ name, probability }) => [`${(100 * probability).toFixed(2)} %`, visible(name)]);
    return `${style.bold(visible(path))}\n${formatTable(rows, { align: "rl", columns })}`;
  });
  return tables.join("\n");
}
