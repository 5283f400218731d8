import { formatAmount, formatNumber } from "../../terminal/format.ts";
import type { Context } from "../../terminal/options/command.ts";
import { profileJson, profileText } from "../../terminal/profile.ts";
import { quantizedJson } from "../../terminal/quantized.ts";
import { formatTable } from "../../terminal/table.ts";
import type { ForgettingJson } from "./options.ts";
import type { Comparison, Texts } from "./compare.ts";
import { forgettingOf } from "./forgetting.ts";
import { measuredOf } from "./perplexity-report.ts";

/** The report of `eval forgetting` for `--json`. */
export function forgettingJson(found: Comparison, texts: Texts, seed: number | undefined): ForgettingJson {
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
export function forgettingText(found: Comparison, texts: Texts, { columns, style }: Context): string {
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
