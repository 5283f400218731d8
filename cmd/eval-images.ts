import { RandloraError } from "../src/files/errors.ts";
import type { ImageSet, Split } from "../src/data/images/datasets/types.ts";
import { choice, defineCommand, integer, required, text } from "../src/terminal/options/command.ts";
import { chooseHead, HEAD_OPTIONS } from "../src/measure/images/head-options.ts";
import { MODEL_OPTIONS, findLoadedImageModel } from "../src/measure/images/model-options.ts";

/** `randlora eval images`. */
export const imagesCommand = defineCommand({
  name: "images",
  summary: "Measure how well CLIP or DINOv2 tells the classes of images apart",
  example: "randlora eval images openai/clip-vit-base-patch32 --adapter my-adapter --data flowers",
  arguments: {
    model: required("MODEL", "a CLIP or DINOv2 model: a folder, one of its files, a run, or org/name on the Hub"),
  },
  options: {
    data: text({
      value: "DIR",
      topic: "Images",
      help: "a folder with test/CLASS/*, a list or parquet, as finetune has",
    }),
    split: choice(["train", "valid", "test"], { topic: "Images", help: "which part of them", default: "test" }),
    dataset: text({ value: "NAME", topic: "Images", help: "named image dataset that DIR holds in its own layout" }),
    ...HEAD_OPTIONS,
    batchSize: integer({
      value: "B",
      topic: "Images",
      help: "number of images in a batch",
      min: 1,
      default: 32,
    }),
    ...MODEL_OPTIONS,
  },
  async run({ model }, { data, split, dataset, head, templates, batchSize, ...flags }, context) {
    if (data === undefined) throw new RandloraError("usage", "--data is missing", "name the folder of the images");
    const { measureAccuracy } = await import("../src/measure/images/accuracy.ts");
    const { readPreprocessing } = await import("../src/data/images/preprocessing.ts");
    const { accuracyJson, accuracyText } = await import("../src/measure/images/accuracy-report.ts");
    const { profileJson, profileText } = await import("../src/terminal/profile.ts");
    const { quantizedJson } = await import("../src/terminal/quantized.ts");
    const asked = await chooseHead({ head, templates }, dataset);
    // What cannot be read is found out before a model is loaded.
    const all = await openSplit(data, split, dataset);
    await using resources = new AsyncDisposableStack();
    const found = await findLoadedImageModel(model, flags, resources, context);
    const { folder } = found.location;
    const preprocessing = await readPreprocessing(folder);
    const opened = await found.open({ preprocessing, withoutText: asked.withoutText });
    const classifier = resources.use(await asked.classifierOf(opened, all, folder));
    // A trained head has its own order of the classes, and may know more of them.
    const set = classifier.kind === "zero-shot" ? all : await openSplit(data, split, dataset, classifier.classes);
    const { signal } = context;
    const started = performance.now();
    using bar = context.progress({ title: "classifying", items: set.labels.length, unit: "images" });
    const onImages = (items: number) => bar.add({ items });
    const scores = await measureAccuracy(classifier, set, { preprocessing, batchSize, signal, onImages });
    bar.close();
    const report = { ...scores, seconds: (performance.now() - started) / 1000 };
    const times = (await opened.gpu.profiler?.report()) ?? [];
    const json = { ...accuracyJson(report), ...quantizedJson(opened.model.quantized), ...profileJson(times) };
    context.result(json, () => {
      return accuracyText(report, context) + profileText(times, context.columns);
    });
  },
});

/** @throws {RandloraError} `data` without such a split; as `openImages` */
async function openSplit(
  data: string,
  split: Split,
  dataset: string | undefined,
  classes?: readonly string[],
): Promise<ImageSet> {
  const { openImages } = await import("../src/data/images/datasets/open.ts");
  const { oneLine } = await import("../src/files/failure.ts");
  const set = await openImages({ data, split, dataset, classes });
  if (set !== undefined) return set;
  const hint = `it takes ${split}/CLASS/*, ${split}.csv, ${split}.jsonl or ${split}.parquet; --split names another part`;
  throw new RandloraError("data", `${oneLine(data)}: no ${split} split`, hint);
}
