import { formatAmount, formatNumber } from "../../terminal/format.ts";
import type { Context } from "../../terminal/options/command.ts";
import { profileJson, profileText } from "../../terminal/profile.ts";
import { quantizedJson } from "../../terminal/quantized.ts";
import { formatTable } from "../../terminal/table.ts";
import type { PerplexityJson } from "./options.ts";
import type { Comparison } from "./compare.ts";
import type { Perplexity } from "./perplexity.ts";

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
