import { ESTIMATORS } from "../src/measure/analyze/cka/cka.ts";
import { Contradiction, RandloraError } from "../src/files/errors.ts";
import { choice, defineCommand, integer, repeat, required, text } from "../src/terminal/options/command.ts";
import { profileJson, profileText } from "../src/terminal/profile.ts";
import type { Progress } from "../src/terminal/progress.ts";
import { adapterOrModel } from "../src/measure/analyze/adapter-or-model.ts";
import { GENERATOR_OPTION, IMAGE_OPTIONS, refuseForeign, SAMPLE_OPTIONS } from "../src/measure/analyze/options.ts";
import { outputsForImages, outputsForTexts } from "../src/measure/analyze/cka/outputs.ts";
import { openPlan } from "../src/measure/analyze/open-plan.ts";
import { beginFigure } from "../src/terminal/charts/begin-figure.ts";
import { dataIn, weightsIn } from "../src/measure/inputs.ts";

/** `randlora analyze cka`. */
export const ckaCommand = defineCommand({
  name: "cka",
  summary: "Compare the representations of adapters with those of a reference, block by block",
  example:
    "randlora analyze cka embedded --reference runs/full --adapter runs/lora --adapter runs/randlora --data chats.jsonl",
  arguments: {
    model: required(
      "MODEL",
      "the base: a folder, an index.json, one .safetensors or .gguf file, or org/name on the Hub",
    ),
  },
  options: {
    reference: text({
      value: "R",
      topic: "Adapters",
      help: "reference to compare with: an adapter, a run, or a full model fine-tuned from MODEL",
    }),
    adapter: repeat(
      text({
        value: "A",
        topic: "Adapters",
        help: "adapter, run or full model to compare with the reference; may be given several times",
      }),
    ),
    generator: GENERATOR_OPTION,
    ...SAMPLE_OPTIONS,
    samples: integer({
      topic: "Data",
      help: "number of samples: the first ones, of images a random choice",
      min: 4,
      default: 512,
    }),
    estimator: choice(ESTIMATORS, {
      topic: "Estimate",
      help: "estimator of CKA: minibatch (unbiased, sums over batches) or full (all samples at once, biased upwards)",
      default: "minibatch",
    }),
    batchSize: integer({
      value: "B",
      topic: "Estimate",
      help: "number of samples in a batch, with --estimator minibatch",
      min: 4,
      defaultText: "64",
    }),
    ...IMAGE_OPTIONS,
  },
  async run({ model }, options, context) {
    const { reference, adapter: adapters, estimator, batchSize, svg } = options;
    const { data, dataset, split, samples: most, maxLength } = options;
    if (reference === undefined)
      throw new RandloraError("usage", "--reference is missing", "name what to compare with");
    if (adapters.length === 0) throw new RandloraError("usage", "--adapter is missing", "name what to compare");
    const twice = adapters.find((name, at) => adapters.indexOf(name) < at);
    if (twice !== undefined) throw new RandloraError("usage", `--adapter ${twice} is given twice`, "give it once");
    if (data === undefined) throw new RandloraError("usage", "--data is missing", "name the file with samples");
    if (estimator === "full" && batchSize !== undefined) {
      const cause = "--batch-size: --estimator full has no batches";
      throw new Contradiction(["batchSize", "estimator"], cause, "leave it out");
    }
    const { compareLayers, samplesUsed } = await import("../src/measure/analyze/cka/compare-layers.ts");
    const { isOfImages } = await import("../src/models/vision/index.ts");
    const { ckaJson, ckaText } = await import("../src/measure/analyze/cka/report.ts");
    const { openDevice } = await import("../src/compute/open-device.ts");
    await using resources = new AsyncDisposableStack();
    const paths: string[] = [];
    for (const name of [reference, ...adapters]) paths.push(await adapterOrModel(name, "model", context));
    const plan = await openPlan(model, paths, options.generator, context);
    const { location } = plan;
    const inputs = [location.weights ?? location.folder, ...weightsIn(paths), ...(await dataIn(data, dataset))];
    const figure = svg === undefined ? undefined : resources.use(await beginFigure(svg, options.force, inputs));
    const ofImages = await isOfImages(plan.location.folder);
    refuseForeign(ofImages, { texts: { maxLength }, images: { dataset, split } });
    const outputsFor = ofImages ? outputsForImages : outputsForTexts;
    const outputs = await outputsFor(plan, { data, samples: most, maxLength, dataset, split }, context);
    const { signal, device } = context;
    const settings = { estimator, batchSize: batchSize ?? 64, signal };
    const { length, unit } = outputs;
    const samples = samplesUsed(outputs, settings);
    if (samples < length) {
      context.log.info(`the last ${length - samples} of ${length} ${unit} are no batch of 4, and left out`);
    }
    const gpu = resources.use(await openDevice(device));
    using bar: Progress = context.progress({ title: "comparing", items: length * paths.length, unit });
    const collect = await outputs.begin(gpu, resources, (items) => bar.add({ items }));
    const [first, ...others] = plan.variants;
    if (first === undefined) throw new RangeError("no reference");
    const layers = await compareLayers(collect, first, others, settings);
    bar.close();
    const report = { reference, adapters, layers, samples, estimator };
    if (figure !== undefined) {
      const { ckaSvg } = await import("../src/measure/analyze/cka/svg.ts");
      await figure.write(ckaSvg(report));
    }
    const times = (await gpu.profiler?.report()) ?? [];
    context.result({ ...ckaJson(report), ...profileJson(times) }, () => {
      return ckaText(report, context) + profileText(times, context.columns);
    });
  },
});
