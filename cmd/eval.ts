import { RandloraError } from "../src/errors.ts";
import { count, defineCommand, defineGroup, required, text } from "../src/options/command.ts";
import { formatNumber } from "../src/terminal/format.ts";
import { formatTable } from "../src/terminal/table.ts";

const perplexityCommand = defineCommand({
  name: "perplexity",
  summary: "Measure how well a model predicts a text",
  example: "randlora eval perplexity HuggingFaceTB/SmolLM2-135M-Instruct --file book.txt",
  arguments: {
    model: required("MODEL", "the model: a folder, an index.json, one .safetensors file, or org/name on the Hub"),
  },
  options: {
    file: text({ value: "TEXT", topic: "Text", help: "a UTF-8 file, taken byte for byte" }),
    context: count({
      value: "N",
      topic: "Text",
      help: "tokens of a window; windows do not overlap",
      defaultText: "1024, or the model's context when that is smaller",
    }),
  },
  async run({ model }, { file, context: asked }, context) {
    if (file === undefined) throw new RandloraError("usage", "--file is missing", "name the text to predict");
    const { localPath } = await import("../src/options/places.ts");
    const { locateModel } = await import("../src/models/locate.ts");
    const { readText } = await import("../src/text/tokenizer/files.ts");
    const { loadTokenizer } = await import("../src/text/tokenizer.ts");
    const { loadConfig } = await import("../src/models/architectures/index.ts");
    const { perplexity, windowSize } = await import("../src/eval/perplexity.ts");
    const { Gpu } = await import("../src/gpu/gpu.ts");
    const { Decoder } = await import("../src/models/decoder.ts");
    const { folder, weights } = await locateModel(await localPath(model, "model", context));
    const size = windowSize(await loadConfig(folder), asked);
    const ids = (await loadTokenizer(folder)).encode(await readText(file));
    using gpu = await Gpu.open({ choice: context.gpu, profile: context.profile });
    const { signal } = context;
    using decoder = await Decoder.load(gpu, folder, { weights, signal });
    using bar = context.progress({ title: "predicting", items: ids.length, unit: "tokens" });
    const onTokens = (items: number) => bar.add({ items });
    const { tokens, ...base } = await perplexity(decoder, ids, { context: size, onTokens, signal });
    bar.close();
    context.result({ tokens, base }, () => {
      const rows = [["base", base.nll.toFixed(4), base.perplexity.toFixed(3)]];
      const head = ["", "nll", "perplexity"];
      const table = formatTable(rows, { head, align: "lrr", columns: context.columns, markHead: context.style.dim });
      return `${table}${formatNumber(tokens)} tokens predicted, in windows of ${formatNumber(size)}\n`;
    });
  },
});

/** `randlora eval perplexity`. */
export const command = defineGroup({
  name: "eval",
  summary: "Measure a model",
  commands: [perplexityCommand],
});
