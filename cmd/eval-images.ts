import type { PictureModel } from "../src/eval/picture-model.ts";
import { RandloraError } from "../src/errors.ts";
import type { PictureSet, Split } from "../src/images/sets/types.ts";
import { choice, defineCommand, integer, required, text } from "../src/options/command.ts";
import { ADAPTER_OPTIONS, findPictureModel } from "./picture-model.ts";

/** `randlora eval images`. */
export const imagesCommand = defineCommand({
  name: "images",
  summary: "Measure how well CLIP or DINOv2 tells the classes of pictures apart",
  example: "randlora eval images openai/clip-vit-base-patch32 --adapter my-adapter --data flowers",
  arguments: {
    model: required("MODEL", "a CLIP or DINOv2 model: a folder, one of its files, a run, or org/name on the Hub"),
  },
  options: {
    data: text({
      value: "DIR",
      topic: "Pictures",
      help: "a folder with test/CLASS/*, a list or parquet, as finetune has",
    }),
    split: choice(["train", "valid", "test"], { topic: "Pictures", help: "which part of them", default: "test" }),
    dataset: text({ value: "NAME", topic: "Pictures", help: "DIR is this set, in its own layout" }),
    head: choice(["linear", "cls", "zero-shot"], {
      topic: "Head",
      help: "a trained one, of either kind, or the texts of the classes",
      defaultText: "the trained one, else zero-shot",
    }),
    templates: text({
      value: "simple|openai|FILE",
      topic: "Head",
      help: "prompts of zero-shot; FILE: one a line, {} the class",
      defaultText: "simple",
    }),
    batchSize: integer({
      value: "B",
      topic: "Pictures",
      help: "pictures that go through the model together",
      min: 1,
      default: 32,
    }),
    ...ADAPTER_OPTIONS,
  },
  async run({ model }, { data, split, dataset, head, templates, batchSize, ...adapters }, context) {
    if (data === undefined) throw new RandloraError("usage", "--data is missing", "name the folder of the pictures");
    if (templates !== undefined && head !== undefined && head !== "zero-shot") {
      throw new RandloraError("usage", `--templates and --head ${head}: such a head reads no texts`, "leave one out");
    }
    const { measureAccuracy } = await import("../src/eval/picture-accuracy.ts");
    const { PictureClassifier } = await import("../src/eval/picture-classifier.ts");
    const { readPreprocessing } = await import("../src/images/preprocessing.ts");
    const { promptTemplates } = await import("../src/images/prompts.ts");
    const { accuracyJson, accuracyText } = await import("../src/report/picture-accuracy.ts");
    const { profileJson, profileText } = await import("../src/report/profile.ts");
    const { loadTokenizer } = await import("../src/text/load-tokenizer.ts");
    const prompts = await promptTemplates(templates ?? "simple", dataset);
    // What cannot be read is found out before a model is loaded.
    const all = await openSplit(data, split, dataset);
    await using resources = new AsyncDisposableStack();
    const found = await findPictureModel(model, adapters, resources, context);
    const { folder } = found.location;
    const preprocessing = await readPreprocessing(folder);
    const opened = await found.open({ preprocessing, withoutText: head === "linear" || head === "cls" });
    const isZeroShot = head === "zero-shot" || (head === undefined && readsTextsAlone(opened));
    if (templates !== undefined && !isZeroShot) {
      throw new RandloraError("usage", "--templates: the head was trained", "give --head zero-shot as well");
    }
    const classifier = resources.use(
      isZeroShot
        ? await PictureClassifier.zeroShot(opened, {
            classes: all.classes,
            texts: all.texts,
            templates: prompts,
            loadTokenizer: () => loadTokenizer(folder),
          })
        : PictureClassifier.trained(opened, head),
    );
    // A trained head has its own order of the classes, and may know more of them.
    const set = isZeroShot ? all : await openSplit(data, split, dataset, classifier.classes);
    const { signal } = context;
    const started = performance.now();
    using bar = context.progress({ title: "classifying", items: set.labels.length, unit: "pictures" });
    const onPictures = (items: number) => bar.add({ items });
    const scores = await measureAccuracy(classifier, set, { preprocessing, batchSize, signal, onPictures });
    bar.close();
    const report = { ...scores, seconds: (performance.now() - started) / 1000 };
    const times = (await opened.gpu.profiler?.report()) ?? [];
    context.result({ ...accuracyJson(report), ...profileJson(times) }, () => {
      return accuracyText(report, context) + profileText(times, context.columns);
    });
  },
});

/** Is there no head but one of texts? */
function readsTextsAlone({ trained, model }: PictureModel): boolean {
  return trained === undefined && model.text !== undefined;
}

/** @throws {RandloraError} `data` without such a split; as `openPictures` */
async function openSplit(
  data: string,
  split: Split,
  dataset: string | undefined,
  classes?: readonly string[],
): Promise<PictureSet> {
  const { openPictures } = await import("../src/images/sets/open.ts");
  const { oneLine } = await import("../src/files/failure.ts");
  const set = await openPictures({ data, split, dataset, classes });
  if (set !== undefined) return set;
  const hint = `it takes ${split}/CLASS/*, ${split}.csv, ${split}.jsonl or ${split}.parquet; --split names another part`;
  throw new RandloraError("data", `${oneLine(data)}: no ${split} split`, hint);
}
