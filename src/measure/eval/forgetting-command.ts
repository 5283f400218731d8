import { readRecords } from "../../data/records/records.ts";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { formatAmount, formatNumber } from "../../terminal/format.ts";
import type { Context } from "../../terminal/options/command.ts";
import { profileJson, profileText } from "../../terminal/profile.ts";
import { quantizedJson } from "../../terminal/quantized.ts";
import { formatTable } from "../../terminal/table.ts";
import { type Comparison, givenTexts, type Texts } from "./compare.ts";
import { measuredOf, measureTexts, type ReadModel } from "./measure-texts.ts";
import { windowSize, type Perplexity } from "./perplexity.ts";
import type { ForgettingFlags, ForgettingJson } from "./options.ts";
import { join } from "node:path";
import { generateBatch } from "../../chat/generation/batch.ts";
import { DEFAULT_SAMPLING } from "../../chat/generation/sampling.ts";
import { ALONE, gatherComputed, ownRange } from "../../mpi/processes.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import { readOptionalJsonObject } from "../../files/read-text.ts";

/** What an adapter costs on texts that it was not trained for, in nats a token. */
export interface Forgetting {
  /** Mean loss with the adapter less that of the base. Over texts that the base wrote: their Kullback-Leibler divergence, unbiased. */
  readonly mean: number;
  /** Its standard error, over texts; null for a single one. */
  readonly error: number | null;
}

/** @param adapted of the same texts as `base` */
export function forgettingOf(base: Perplexity, adapted: Perplexity): Forgetting {
  const mean = adapted.nll - base.nll;
  const texts = base.sums.length;
  // Tokens of a text depend on each other: what one text adds to the ratio of two sums counts once.
  const squares = base.sums.reduce((sum, { nll, tokens }, at) => {
    const more = (adapted.sums[at]?.nll ?? 0) - nll - mean * tokens;
    return sum + more * more;
  }, 0);
  const error = texts < 2 ? null : Math.sqrt((squares * texts) / (texts - 1)) / base.tokens;
  return { mean, error };
}

/** Tokens of a text that is drawn, where nothing is said. */
export const DRAWN_LENGTH = 256;

interface Drawing {
  readonly count: number;
  /** Tokens of each, without the one that it begins with. */
  readonly length: number;
  readonly beginning: number;
  /** Of the first text; that of each further one is one more. */
  readonly seed: number;
}

/**
 * Texts as a model writes them by itself: at temperature 1, nothing cut, and on after an end of text, so that they are a
 * sample of its own distribution. Processes draw some each, and all have all of them.
 */
export function drawnTexts({ count, length, beginning, seed }: Drawing): Texts {
  return {
    count,
    size: length + 1,
    tokens: count * (length + 1),
    isDrawn: true,
    async ids(decoder, { processes = ALONE, signal, onTokens }) {
      const drawn = await gatherComputed(processes, async () => {
        const [from, end] = ownRange(processes, count);
        const texts: (readonly number[])[] = [];
        const prompts = Array.from({ length: end - from }, () => [beginning]);
        const sampling = { ...DEFAULT_SAMPLING, temperature: 1, topK: 0, topP: 1, minP: 0, seed: seed + from };
        // RoPE that is scaled bears more than the model's context.
        const options = { maxTokens: length, stopTokens: new Set<number>(), context: length + 1, sampling, signal };
        await generateBatch(decoder, prompts, options, ({ index, tokens }) => {
          texts[index] = tokens;
          onTokens?.(tokens.length);
        });
        return texts.flat();
      });
      if (drawn.length !== count * length) throw new Error(`${drawn.length} tokens of ${count} texts of ${length}`);
      return Array.from({ length: count }, (_, at) => [beginning, ...drawn.slice(at * length, (at + 1) * length)]);
    },
  };
}

/** The token that a text of this model begins with. @throws RandloraError `model` where neither tokenizer nor config.json names one */
export async function beginningOf(folder: string, tokenizer: Tokenizer): Promise<number> {
  const { bos_token_id: bos } = await readOptionalJsonObject(join(folder, "config.json"));
  const found = tokenizer.beginning ?? (typeof bos === "number" ? bos : tokenizer.eos?.id);
  if (found !== undefined) return found;
  const cause = "the model names no token that a text begins with, so that it cannot draw any";
  throw new RandloraError("model", cause, "give texts with --file");
}

/** Texts, and tokens of one, where nothing is said: of a file as PEFT's method_comparison/MetaMathQA/utils.py has them. */
const DRAWN = { count: 64, length: DRAWN_LENGTH };
const OF_FILE = { count: 100, length: 768 };

/**
 * Measures what an adapter makes a model forget: by how much it predicts texts worse that the adapter was not trained for.
 * @throws RandloraError `data` for records without a text; as `measureTexts`
 */
export async function evalForgetting(
  argument: string | undefined,
  options: ForgettingFlags,
  context: Context<ForgettingJson>,
): Promise<void> {
  await measureTexts(argument, options, context, {
    command: "forgetting",
    alone: "eval forgetting compares a model with itself and an adapter, and there is none",
    async textsOf({ file, texts, context: asked, seed }, model) {
      const { contextLength } = model.config;
      if (file !== undefined) {
        if (seed !== undefined) {
          throw new Contradiction(
            ["seed", "file"],
            "--seed: the texts of --file are not drawn",
            "leave one of them out",
          );
        }
        const size = windowSize(model.config, asked ?? Math.min(OF_FILE.length, contextLength));
        return await readTexts(file, texts ?? OF_FILE.count, size, model);
      }
      // One more than is predicted: the token that the text begins with.
      const size = windowSize(model.config, asked ?? Math.min(DRAWN.length + 1, contextLength));
      const beginning = await beginningOf(model.folder, model.tokenizer);
      return drawnTexts({ count: texts ?? DRAWN.count, length: size - 1, beginning, seed: seed ?? 0 });
    },
    report(found, texts, { seed = 0 }, own) {
      const of = texts.isDrawn ? seed : undefined;
      own.result(forgettingJson(found, texts, of), () => forgettingText(found, texts, own));
    },
  });
}

/** The first texts of a data file that something can be predicted of, each cut at `size` tokens. */
async function readTexts(path: string, most: number, size: number, { tokenizer }: ReadModel): Promise<Texts> {
  const texts: (readonly number[])[] = [];
  for await (const { place, fields } of readRecords(path, ["text"])) {
    const { text } = fields;
    if (typeof text !== "string") {
      const hint = 'give texts, as {"text": …} a line: held-out chats are measured by eval chats';
      throw new RandloraError("data", `${oneLine(path)}: ${place}: no text`, hint);
    }
    const ids = tokenizer.encode(text).slice(0, size);
    if (ids.length > 1) texts.push(ids);
    if (texts.length === most) break;
  }
  if (texts.length > 0) return givenTexts(texts, size);
  throw new RandloraError("data", `${oneLine(path)}: no text of two tokens or more`, "give longer texts");
}

/** The report of `eval forgetting` for `--json`. */
function forgettingJson(found: Comparison, texts: Texts, seed: number | undefined): ForgettingJson {
  const { base, adapted = base, merged, quantized, tokensPerSecond, profile } = found;
  const figures = (of: Comparison["base"]) => {
    const { mean, error } = forgettingOf(base, of);
    return { forgetting: mean, error };
  };
  return {
    texts: texts.count,
    tokens: base.tokens,
    ...(seed === undefined ? {} : { seed }),
    nll: base.nll,
    ...figures(adapted),
    ...(merged === undefined ? {} : { merged: figures(merged) }),
    tokens_per_s: tokensPerSecond,
    ...quantizedJson(quantized),
    ...profileJson(profile),
  };
}

/** The report as a table. */
function forgettingText(found: Comparison, texts: Texts, { columns, style }: Context): string {
  const { base } = found;
  const rows = measuredOf(found).map(([name, figures]) => {
    const { mean, error } = forgettingOf(base, figures);
    const range = error === null ? "" : ` ± ${error.toFixed(4)}`;
    return [name, figures.nll.toFixed(4), figures === base ? "" : `${mean.toFixed(4)}${range}`];
  });
  const table = formatTable(rows, { head: ["", "nll", "forgetting"], align: "lrr", columns, markHead: style.dim });
  const from = texts.isDrawn
    ? "drawn from the base: forgetting is KL(base ‖ adapted) a token"
    : "of the file: forgetting is the rise of nll";
  const amounts = `${formatAmount(base.tokens, "token")} of ${formatAmount(texts.count, "text")}`;
  const speed = `${formatNumber(Math.round(found.tokensPerSecond))} a second`;
  return `${table}${amounts} ${from}, with its standard error; ${speed}\n${profileText(found.profile, columns)}`;
}
