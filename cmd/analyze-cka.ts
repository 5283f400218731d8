import { ESTIMATORS } from "../src/measure/analyze/cka/cka.ts";
import { choice, defineCommand, integer, repeat, text } from "../src/terminal/options/command.ts";
import { BASE_ARGUMENT, IMAGE_OPTIONS, SAMPLE_OPTIONS } from "../src/measure/analyze/options.ts";
import { generatorOption } from "../src/terminal/options/shared/adapters.ts";

/** `randlora analyze cka`. */
export const ckaCommand = defineCommand({
  name: "cka",
  summary: "Compare the representations of adapters with those of a reference, block by block",
  example:
    "randlora analyze cka embedded --reference runs/full --adapter runs/lora --adapter runs/randlora --data chats.jsonl",
  arguments: { model: BASE_ARGUMENT },
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
    generator: generatorOption("Adapters"),
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
    const { analyzeCka } = await import("../src/measure/analyze/cka/cka-command.ts");
    await analyzeCka(model, options, context);
  },
});
