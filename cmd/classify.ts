import { Contradiction, RandloraError } from "../src/files/errors.ts";
import type { ClassifiedImage } from "../src/measure/images/classify-report.ts";
import { defineCommand, integer, list, required, text, variadic } from "../src/terminal/options/command.ts";
import { MODEL_OPTIONS, findLoadedImageModel } from "../src/measure/images/model-options.ts";

/** Images that go through the model at once. */
const AT_ONCE = 16;

/** `randlora classify`. */
export const command = defineCommand({
  name: "classify",
  otherNames: ["predict"],
  summary: "Say what images show: of the classes of a trained head, or of any labels with CLIP",
  example: 'randlora classify openai/clip-vit-base-patch32 --labels "cat,dog,an owl" cat.jpg',
  arguments: {
    model: required("MODEL", "a CLIP or DINOv2 model: a folder, one of its files, a run, or org/name on the Hub"),
    images: variadic("IMAGE", "JPEG, PNG, WebP, GIF or PPM"),
  },
  options: {
    labels: list(
      text({
        value: "A,B,…",
        topic: "Classes",
        help: "class names for zero-shot classification (CLIP)",
        defaultText: "those of the trained head",
      }),
    ),
    labelsFile: text({ value: "FILE", topic: "Classes", help: "file of class names, one a line" }),
    top: integer({
      value: "K",
      topic: "Classes",
      help: "number of classes to show, the most likely first",
      min: 1,
      default: 5,
    }),
    ...MODEL_OPTIONS,
  },
  async run({ model, images }, { labels: given, labelsFile, top, ...flags }, context) {
    if (given !== undefined && labelsFile !== undefined) {
      const cause = "--labels and --labels-file both name the classes";
      throw new Contradiction(["labels", "labelsFile"], cause, "leave one of them out");
    }
    const { promptTemplates, readNames } = await import("../src/data/images/prompts.ts");
    const { readPreprocessing } = await import("../src/data/images/preprocessing.ts");
    const { imageFiles } = await import("../src/data/images/datasets/files.ts");
    const { textsOf } = await import("../src/data/images/datasets/types.ts");
    const { classifyText, likeliest } = await import("../src/measure/images/classify-report.ts");
    const { quantizedJson } = await import("../src/terminal/quantized.ts");
    const { ImageClassifier } = await import("../src/measure/images/classifier.ts");
    const { logProbabilities } = await import("../src/train/model/judge.ts");
    const { imageBatches } = await import("../src/measure/images/batches.ts");
    const { loadTokenizer } = await import("../src/data/text/load-tokenizer.ts");
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
    context.result({ images: classified, ...quantizedJson(opened.model.quantized) }, () =>
      classifyText(classified, context),
    );
  },
});
