import { RandloraError } from "../src/files/errors.ts";
import type { Comparison } from "../src/measure/eval/compare.ts";
import {
  choice,
  type Context,
  defineCommand,
  defineGroup,
  flag,
  number,
  optional,
  text,
} from "../src/terminal/options/command.ts";
import { GENERATOR_NAMES } from "../src/compute/random/names.ts";
import { profileJson, profileText } from "../src/terminal/profile.ts";
import { quantizedJson } from "../src/terminal/quantized.ts";
import { formatAmount, formatNumber } from "../src/terminal/format.ts";
import type { Progress } from "../src/terminal/progress.ts";
import { formatTable } from "../src/terminal/table.ts";
import { commonsenseCommand } from "./eval-commonsense.ts";
import { imagesCommand } from "./eval-images.ts";
import { contextOption } from "../src/terminal/options/shared/context.ts";
import { sayQuantized } from "../src/chat/load-model.ts";
import { KV_TYPE_OPTION } from "../src/terminal/options/shared/kv-type.ts";
import { quantizeOption } from "../src/terminal/options/shared/quantize.ts";
import { readInput } from "../src/terminal/read-input.ts";

const perplexityCommand = defineCommand({
  name: "perplexity",
  summary: "Measure how well a model predicts a text, with and without an adapter",
  example: "randlora eval perplexity HuggingFaceTB/SmolLM2-135M-Instruct --adapter my-adapter --merged --file book.txt",
  arguments: {
    model: optional(
      "MODEL",
      "the model: a folder, an index.json, one .safetensors or .gguf file, a run, or org/name on the Hub; default: the newest run or merged model here",
    ),
  },
  options: {
    file: text({ short: "f", value: "TEXT", topic: "Text", help: "text file (UTF-8), read byte for byte; - is stdin" }),
    context: contextOption({
      topic: "Text",
      help: "window length in tokens; windows do not overlap",
      defaultText: "1024, or the model's context when that is smaller",
    }),
    adapter: text({ value: "A", topic: "Adapter", help: "adapter to measure the model with as well, in f32" }),
    scale: number({ value: "S", topic: "Adapter", help: "adapter scale: multiplies α/r", defaultText: "1" }),
    generator: choice(GENERATOR_NAMES, {
      value: "NAME",
      topic: "Adapter",
      help: "random generator of the bases, if the adapter does not record it",
    }),
    quantize: quantizeOption({ topic: "Model" }),
    kvType: KV_TYPE_OPTION,
    merged: flag({ topic: "Adapter", help: "measure the model that merge would write as well" }),
  },
  async run({ model: argument }, options, context) {
    const { file, context: asked, scale, generator, merged, quantize, kvType } = options;
    const { describeDefaultModel, findDefaultModel } = await import("../src/chat/default-model.ts");
    const { readRun } = await import("../src/models/folder/run.ts");
    if (file === undefined) throw new RandloraError("usage", "--file is missing", "name the text to predict");
    const given = argument ?? (await findDefaultModel(process.cwd()));
    if (argument === undefined) context.log.info(describeDefaultModel(given));
    // A run stands for the model that it was made from, with what it trained.
    const run = await readRun(given);
    if (run.adapter !== undefined && options.adapter !== undefined) {
      throw new RandloraError("usage", `${given}: a run, and another --adapter`, `name the model: ${run.model}`);
    }
    const { place, adapter: named = options.adapter } = run;
    if (named === undefined && (merged || generator !== undefined || scale !== undefined)) {
      const flagged = merged ? "--merged" : generator !== undefined ? "--generator" : "--scale";
      throw new RandloraError("usage", `${flagged} needs an adapter`, "name it with --adapter");
    }
    if (merged && quantize !== undefined) {
      const message = `--merged and --quantize ${quantize}: adapters are merged into weights as stored`;
      throw new RandloraError("usage", message, "merge (randlora merge), and measure the merged model with --quantize");
    }
    const { localPath } = await import("../src/models/folder/local-path.ts");
    const { locateModel } = await import("../src/models/folder/locate.ts");
    const { loadTokenizer } = await import("../src/data/text/load-tokenizer.ts");
    const { loadConfig } = await import("../src/models/decoder/architectures/index.ts");
    const { comparePerplexity } = await import("../src/measure/eval/compare.ts");
    const { windowSize } = await import("../src/measure/eval/perplexity.ts");
    const { openDevice } = await import("../src/compute/open-device.ts");
    const location = await locateModel(await localPath(place, "model", context));
    const adapter =
      named === undefined ? undefined : { path: await localPath(named, "adapter", context), scale: scale ?? 1 };
    const size = windowSize(await loadConfig(location.folder), asked);
    const tokenizer = await loadTokenizer(location.folder);
    const ids = tokenizer.encode(await readInput(file));
    const { device, signal } = context;
    let bar: Progress | undefined;
    try {
      const found = await comparePerplexity(ids, {
        beginning: tokenizer.beginning,
        location,
        adapter,
        generator,
        merged,
        quantize,
        kvType,
        open: () => openDevice(device),
        context: size,
        onPasses: (passes) => {
          bar = context.progress({ title: "predicting", items: passes * ids.length, unit: "tokens" });
        },
        onTokens: (items) => bar?.add({ items }),
        signal,
      });
      bar?.close();
      for (const note of found.notes) context.log.warn(note);
      await sayQuantized(found.quantized, quantize, context);
      context.result(toJson(found), () => render(found, size, context));
    } finally {
      bar?.close();
    }
  },
});

function toJson({ base, adapted, merged, quantized, tokensPerSecond, profile }: Comparison): object {
  const figures = (found: Comparison["adapted"]) => found && { nll: found.nll, perplexity: found.perplexity };
  return {
    tokens: base.tokens,
    tokens_per_s: tokensPerSecond,
    base: figures(base),
    ...(adapted === undefined ? {} : { adapted: figures(adapted) }),
    ...(merged === undefined ? {} : { merged: figures(merged) }),
    ...quantizedJson(quantized),
    ...profileJson(profile),
  };
}

function render(found: Comparison, size: number, { columns, style }: Context): string {
  const { base, adapted, merged, mergedDtypes } = found;
  const rows = [
    ["base", base] as const,
    ["adapted, in f32", adapted] as const,
    [`merged, in ${mergedDtypes.join(" and ").toLowerCase()}`, merged] as const,
  ].flatMap(([name, figures]) => {
    if (figures === undefined) return [];
    const row = [name, figures.nll.toFixed(4), figures.perplexity.toFixed(3)];
    return [
      adapted === undefined ? row : [...row, figures === base ? "" : change(figures.perplexity / base.perplexity)],
    ];
  });
  const head = ["", "nll", "perplexity", ...(adapted === undefined ? [] : ["against base"])];
  const table = formatTable(rows, { head, align: "lrrr", columns, markHead: style.dim });
  const speed = `${formatNumber(Math.round(found.tokensPerSecond))} a second`;
  const text = `${formatAmount(base.tokens, "token")} predicted at ${speed}, in windows of ${formatNumber(size)}\n`;
  return `${table}${text}${profileText(found.profile, columns)}`;
}

/** A ratio as a signed percentage. */
function change(ratio: number): string {
  return `${ratio < 1 ? "−" : "+"}${(100 * Math.abs(ratio - 1)).toFixed(2)} %`;
}

/** `randlora eval perplexity`. */
export const command = defineGroup({
  name: "eval",
  otherNames: ["evaluate", "perplexity", "ppl", "benchmark"],
  summary: "Measure a model",
  commands: [perplexityCommand, commonsenseCommand, imagesCommand],
});
