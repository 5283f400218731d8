import { stat } from "node:fs/promises";
import { relative } from "node:path";
import { fractionOf, shotsOf, splitForValidation } from "../../data/batches/shuffle.ts";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { naming, oneLine, quote } from "../../files/failure.ts";
import { type Preprocessing, readPreprocessing } from "../../data/images/preprocessing.ts";
import { fillTemplate, promptTemplates } from "../../data/images/prompts.ts";
import { openImagePart, openImages } from "../../data/images/datasets/open.ts";
import { type ImageSet, subsetOf } from "../../data/images/datasets/types.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import { readImageConfig } from "../../models/vision/index.ts";
import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import { classesOf } from "../model/init-adapter.ts";
import { ownOrder } from "./own-head.ts";
import type { ImageSettings, TrainSettings } from "../settings/settings.ts";
import type { DataHashes } from "../model/subject.ts";

/** What a run on images is trained on and judged by. No image has been read. */
export interface ImageData {
  readonly train: ImageSet;
  readonly valid: ImageSet | undefined;
  readonly preprocessing: Preprocessing;
  /** Of each class its texts as token ids, special tokens included; none where no texts are read. */
  readonly texts: readonly (readonly (readonly number[])[])[];
  /**
   * `data`: of classes, labels, names and sizes of files, preparation, texts. Reading all files takes as long as an epoch, and a part of
   * them would miss the few that were changed.
   */
  readonly hashes: DataHashes;
}

/** Files that are asked for their size at once. */
const AT_ONCE = 256;

/**
 * Finds the images that the settings name, for the model that was found.
 * @throws RandloraError `file`, `format`, `data` naming what is missing or wrong; `usage` for flags that contradict the data;
 *   the signal's reason when it is aborted
 */
export async function loadImageData(
  settings: TrainSettings,
  location: ModelLocation,
  signal?: AbortSignal,
): Promise<ImageData> {
  const { images, data, adapter } = settings;
  if (images === null) throw new TypeError(`${settings.model}: settings of a run on texts`);
  const preprocessing = await readPreprocessing(location.folder);
  const begun = adapter?.initAdapter ?? null;
  const known = begun === null ? undefined : await classesOf(begun);
  const dataset = images.dataset ?? undefined;
  const found = await openImages({ data, split: "train", dataset, classes: known });
  if (found === undefined) {
    const hint =
      "it takes train/CLASS/*, train.csv, train.jsonl or train.parquet; --dataset names one of the paper's sets";
    throw new RandloraError("data", `${oneLine(data)}: no train split`, hint);
  }
  // The model's own head goes on, in its order of the classes; the classes of a set by name have one order.
  const isAsked = known === undefined && dataset === undefined && images.newHead !== true && isTrained(images);
  const order = isAsked ? await ownOrder(location, found.classes) : undefined;
  const isOther = order !== undefined && !Bun.deepEquals(order, found.classes);
  const all = (isOther && (await openImages({ data, split: "train", classes: order }))) || found;
  const { train: rest, valid } = await setAside(all, settings, dataset);
  const train = chosenOf(rest, images, BigInt(settings.seed));
  const [first] = train.labels;
  if (train.classes.length < 2 || train.labels.every((label) => label === first)) {
    const hint =
      train === rest
        ? "each class has a folder of its images, and there are two at least"
        : "give more --shots, or a larger --fraction";
    throw new RandloraError(
      "data",
      `${train.path}: all images are of class ${quote(train.classes[first ?? 0] ?? "")}`,
      hint,
    );
  }
  if (settings.earlyStop > 0 && valid === undefined) {
    const hint = "give --valid DIR or --valid-split 0.1";
    throw new RandloraError("usage", "--early-stop needs validation data", hint);
  }
  const texts = await textsOfClasses(train, images, location);
  const sizeOf = async (file: string) => {
    const found = naming(file, "read", stat(file));
    // What cannot be read is left out when its batch comes.
    return (await (images.skipBadImages ? found.catch(() => undefined) : found))?.size ?? null;
  };
  const hashes = { data: await hashOf({ train, valid, preprocessing, texts }, data, sizeOf, signal) };
  return { train, valid, preprocessing, texts, hashes };
}

function isTrained({ head }: ImageSettings): boolean {
  return head === "linear" || head === "cls";
}

/** Training and validation images. */
async function setAside(
  all: ImageSet,
  { data, valid: named, validSplit, seed }: TrainSettings,
  dataset: string | undefined,
): Promise<{ readonly train: ImageSet; readonly valid: ImageSet | undefined }> {
  const { classes } = all;
  if (named !== null) {
    const chosen = await openImagePart(named, classes);
    if (chosen.files.length > 0 && chosen.files.join() === all.files.join()) {
      const cause = `${chosen.path}: the training images, and validation on what was trained on says nothing`;
      throw new RandloraError("data", cause, "give other images, or --valid-split 0.1");
    }
    return { train: all, valid: chosen };
  }
  const valid = await openImages({ data, split: "valid", dataset, classes });
  if (validSplit === null) return { train: all, valid };
  if (valid !== undefined) {
    const cause = `--valid-split: the validation data is ${valid.path} already`;
    throw new Contradiction(["validSplit"], cause, "leave it out, or remove that part");
  }
  const split = splitForValidation(all.labels.length, validSplit, BigInt(seed), data);
  return { train: subsetOf(all, split.train), valid: subsetOf(all, split.valid) };
}

function chosenOf(set: ImageSet, { shots, fraction }: ImageSettings, seed: bigint): ImageSet {
  if (shots !== null) return subsetOf(set, shotsOf(set.labels, shots, seed));
  if (fraction !== null) return subsetOf(set, fractionOf(set.labels.length, fraction, seed));
  return set;
}

async function textsOfClasses(
  { texts, classes }: ImageSet,
  { templates, dataset, task }: ImageSettings,
  location: ModelLocation,
): Promise<ImageData["texts"]> {
  if (templates === null) return [];
  const prompts = await promptTemplates(templates, dataset ?? undefined);
  if (task === "contrastive" && prompts.length > 1) {
    const cause = `--templates ${templates}: ${prompts.length} templates, and --task contrastive reads one text of each class`;
    throw new RandloraError("usage", cause, "give a file with one template");
  }
  const { contextLength = Infinity } = (await readImageConfig(location)).text ?? {};
  const tokenizer = await loadTokenizer(location.folder);
  return texts.map((text, label) =>
    prompts.map((prompt) => {
      const ids = tokenizer.encode(fillTemplate(prompt, text));
      if (ids.length <= contextLength) return ids;
      const cause = `class ${quote(classes[label] ?? "")}: a prompt of ${ids.length} tokens, and this model takes ${contextLength}`;
      throw new RandloraError("data", cause, "shorten its name, or the template (--templates FILE)");
    }),
  );
}

async function hashOf(
  { train, valid, preprocessing, texts }: Omit<ImageData, "hashes">,
  data: string,
  sizeOf: (file: string) => Promise<number | null>,
  signal: AbortSignal | undefined,
): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256");
  hash.update(JSON.stringify([preprocessing, texts]));
  for (const set of [train, valid]) {
    hash.update(`${JSON.stringify([set?.classes ?? null, set?.upright ?? null])}\n`);
    if (set === undefined) continue;
    hash.update(set.labels);
    for (let begin = 0; begin < set.files.length; begin += AT_ONCE) {
      signal?.throwIfAborted();
      const files = set.files.slice(begin, begin + AT_ONCE);
      const sizes = await Promise.all(files.map(sizeOf));
      for (const [at, file] of files.entries()) hash.update(`${JSON.stringify([relative(data, file), sizes[at]])}\n`);
    }
  }
  return hash.digest("hex");
}
