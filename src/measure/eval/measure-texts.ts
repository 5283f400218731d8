import { describeDefaultModel, findDefaultModel, sayQuantized } from "../../chat/default-model.ts";
import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import { RandloraError } from "../../files/errors.ts";
import { loadConfig } from "../../models/decoder/architectures/index.ts";
import type { DecoderConfig } from "../../models/decoder/config.ts";
import { localPath } from "../../models/folder/local-path.ts";
import { locateModel, readRun } from "../../models/folder/locate.ts";
import { firstThenOthers, type Processes } from "../../mpi/processes.ts";
import { formatAmount, formatNumber } from "../../terminal/format.ts";
import { profileJson, profileText } from "../../terminal/profile.ts";
import { quantizedJson } from "../../terminal/quantized.ts";
import { formatTable } from "../../terminal/table.ts";
import { KeptGpu } from "../../train/loop/kept-gpu.ts";
import type { Context } from "../../terminal/options/command.ts";
import type { Progress } from "../../terminal/progress.ts";
import { sharedByTasks } from "../../terminal/options/shared-parts.ts";
import { comparePerplexity, type Comparison, type Texts, givenTexts } from "./compare.ts";
import type { PerplexityJson, TextFlags, PerplexityFlags } from "./options.ts";
import { type Perplexity, windows, windowSize } from "./perplexity.ts";
import { SAMPLE_FIELDS } from "../../data/text/samples/kinds.ts";
import { oneLine, shellWord } from "../../files/failure.ts";
import { readInput } from "../../terminal/read-input.ts";

/** What a command that measures texts makes of them. */
export interface TextMeasure<Flags extends TextFlags> {
  readonly command: string;
  /** What is wrong with a model without an adapter; undefined: nothing. */
  readonly alone?: string;
  textsOf(options: Flags, model: ReadModel): Promise<Texts>;
  report(found: Comparison, texts: Texts, options: Flags, context: Context): void;
}

/** What is read of a model before its weights are. */
export interface ReadModel {
  readonly folder: string;
  readonly config: DecoderConfig;
  readonly tokenizer: Tokenizer;
}

/** Measures a model, and the same with an adapter, on texts. @throws RandloraError `usage` for flags that contradict each other; as `comparePerplexity` */
export async function measureTexts<Flags extends TextFlags>(
  argument: string | undefined,
  options: Flags,
  context: Context,
  measure: TextMeasure<Flags>,
): Promise<void> {
  const { file, job, jobs, parts, ...asked } = options;
  const files = file === undefined || file === "-" ? [] : [file];
  if (file === "-" && parts !== undefined) {
    throw new RandloraError("usage", "--file -: tasks cannot share what comes from stdin", "give a file");
  }
  await sharedByTasks(
    context,
    { job, jobs, parts },
    { COMMAND: measure.command, MODEL: argument, file, ...asked },
    files,
    (processes, own) => measureShare(argument, options, own, processes, measure),
  );
}

/** The same, in each of the processes that share it. */
async function measureShare<Flags extends TextFlags>(
  argument: string | undefined,
  options: Flags,
  context: Context,
  processes: Processes,
  measure: TextMeasure<Flags>,
): Promise<void> {
  const { scale, generator, merged, quantize, kvType } = options;
  const given = argument ?? (await findDefaultModel(process.cwd()));
  if (argument === undefined) context.log.info(describeDefaultModel(given));
  // A run stands for the model that it was made from, with what it trained.
  const run = await readRun(given);
  if (run.adapter !== undefined && options.adapter !== undefined) {
    throw new RandloraError("usage", `${given}: a run, and another --adapter`, `name the model: ${run.model}`);
  }
  const { place, adapter: named = options.adapter } = run;
  if (named === undefined && measure.alone !== undefined) {
    throw new RandloraError("usage", measure.alone, "name an adapter with --adapter, or a run");
  }
  if (named === undefined && (merged || generator !== undefined || scale !== undefined)) {
    const flagged = merged ? "--merged" : generator !== undefined ? "--generator" : "--scale";
    throw new RandloraError("usage", `${flagged} needs an adapter`, "name it with --adapter");
  }
  if (merged && quantize !== undefined) {
    const message = `--merged and --quantize ${quantize}: adapters are merged into weights as stored`;
    throw new RandloraError("usage", message, "merge (randlora merge), and measure the merged model with --quantize");
  }
  // The others find in the cache what the first one fetches.
  const { location, adapter } = await firstThenOthers(processes, async () => ({
    location: await locateModel(await localPath(place, "model", context)),
    adapter: named === undefined ? undefined : { path: await localPath(named, "adapter", context), scale: scale ?? 1 },
  }));
  const { folder } = location;
  const [config, tokenizer] = [await loadConfig(folder), await loadTokenizer(folder)];
  const { device, signal } = context;
  using gpu = new KeptGpu(device);
  let bar: Progress | undefined;
  const texts = await measure.textsOf(options, { folder, config, tokenizer });
  try {
    const found = await comparePerplexity(texts, {
      location,
      adapter,
      generator,
      merged,
      quantize,
      kvType,
      open: () => gpu.open(),
      processes,
      onPasses: (passes) => {
        const items = Math.ceil(((passes + Number(texts.isDrawn)) * texts.tokens) / processes.size);
        const unit =
          passes === 1 ? "tokens" : `tokens, ${texts.isDrawn ? "drawn, then read" : "the text"} ${passes} times`;
        bar = context.progress({ title: texts.isDrawn ? "drawing and predicting" : "predicting", items, unit });
      },
      onTokens: (items) => bar?.add({ items }),
      signal,
    });
    bar?.close();
    for (const note of found.notes) context.log.warn(note);
    await sayQuantized(found.quantized, quantize, context);
    measure.report(found, texts, options, context);
  } finally {
    bar?.close();
  }
}

/** The report of `eval perplexity` for `--json`. */
export function perplexityJson(found: Comparison): PerplexityJson {
  const { base, adapted, merged, quantized, tokensPerSecond, profile } = found;
  const figures = ({ nll, perplexity }: Comparison["base"]): PerplexityJson["base"] => ({ nll, perplexity });
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

/** The report as a table. @param size tokens of a window */
export function perplexityText(found: Comparison, size: number, { columns, style }: Context): string {
  const { base, adapted } = found;
  const rows = measuredOf(found).map(([name, figures]) => {
    const row = [name, figures.nll.toFixed(4), figures.perplexity.toFixed(3)];
    return adapted === undefined ? row : [...row, figures === base ? "" : change(figures.perplexity / base.perplexity)];
  });
  const head = ["", "nll", "perplexity", ...(adapted === undefined ? [] : ["against base"])];
  const table = formatTable(rows, { head, align: "lrrr", columns, markHead: style.dim });
  const speed = `${formatNumber(Math.round(found.tokensPerSecond))} a second`;
  const text = `${formatAmount(base.tokens, "token")} predicted at ${speed}, in windows of ${formatNumber(size)}\n`;
  return `${table}${text}${profileText(found.profile, columns)}`;
}

/** What was measured of base, adapted and merged model, with its name. */
export function measuredOf({ base, adapted, merged, mergedDtypes }: Comparison): (readonly [string, Perplexity])[] {
  return [
    ["base", base] as const,
    ["adapted, in f32", adapted] as const,
    [`merged, in ${mergedDtypes.join(" and ").toLowerCase()}`, merged] as const,
  ].flatMap(([name, figures]) => (figures === undefined ? [] : [[name, figures] as const]));
}

/** A ratio as a signed percentage. */
function change(ratio: number): string {
  return `${ratio < 1 ? "−" : "+"}${(100 * Math.abs(ratio - 1)).toFixed(2)} %`;
}

/** Measures how well a model predicts a text. @throws RandloraError as `measureTexts` */
export async function evalPerplexity(
  argument: string | undefined,
  options: PerplexityFlags,
  context: Context<PerplexityJson>,
): Promise<void> {
  const { file } = options;
  if (file === undefined) throw new RandloraError("usage", "--file is missing", "name the text to predict");
  await measureTexts(argument, options, context, {
    command: "perplexity",
    async textsOf({ context: asked }, { config, tokenizer }) {
      const size = windowSize(config, asked);
      const text = await readInput(file);
      if (file !== "-" && isSamples(text)) {
        const word = shellWord(file);
        const hint = `eval chats --data ${word} measures samples; as plain text: eval perplexity --file - < ${word}`;
        throw new RandloraError("usage", `--file ${oneLine(file)}: its lines are JSON samples, not a text`, hint);
      }
      return givenTexts(windows(tokenizer.encode(text), size, tokenizer.beginning), size);
    },
    report(found, { size }, _, own) {
      own.result(perplexityJson(found), () => perplexityText(found, size, own));
    },
  });
}

/** Is its first line an object with fields of training samples? */
function isSamples(text: string): boolean {
  const [line = ""] = text.split("\n", 1);
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && SAMPLE_FIELDS.some((name) => Object.hasOwn(value, name));
  } catch {
    return false;
  }
}
