import { readRecords } from "../../data/records/records.ts";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { formatAmount, formatNumber } from "../../terminal/format.ts";
import type { Context } from "../../terminal/options/command.ts";
import { profileJson, profileText } from "../../terminal/profile.ts";
import { quantizedJson } from "../../terminal/quantized.ts";
import { formatTable } from "../../terminal/table.ts";
import { type Comparison, givenTexts, type Texts } from "./compare.ts";
import { beginningOf, DRAWN_LENGTH, drawnTexts, forgettingOf } from "./forgetting.ts";
import { measuredOf, measureTexts, type ReadModel } from "./measure-texts.ts";
import { windowSize } from "./perplexity.ts";
import type { ForgettingFlags, ForgettingJson } from "./options.ts";

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
