import { quote } from "../../files/failure.ts";
import { formatAmount, formatNumber } from "../../terminal/format.ts";
import type { ChatsReport } from "./options.ts";

/** Wrong answers that are shown. */
const SHOWN = 3;

export function chatsText({ samples, tokens, loss, perplexity, match, correct, total, answers }: ChatsReport): string {
  const of = `${formatAmount(tokens, "supervised token")} of ${formatAmount(samples, "sample")}`;
  const lines = [`loss ${loss.toFixed(4)}, perplexity ${perplexity.toFixed(3)}: ${of}`];
  if (total === 0) return `${lines.join("\n")}\n`;
  const share = ((100 * correct) / total).toFixed(2);
  lines.push(`${match} match ${formatNumber(correct)} of ${formatNumber(total)}, ${share} %`);
  const wrong = answers.filter((answer) => !answer.correct);
  for (const { line, expected, text, finish_reason: reason } of wrong.slice(0, SHOWN)) {
    const end = reason === "length" ? " (cut at --max-tokens)" : "";
    lines.push("", `line ${line}`, `  expected ${quote(expected)}`, `  answered ${quote(text)}${end}`);
  }
  if (wrong.length > SHOWN) lines.push("", `${formatNumber(wrong.length - SHOWN)} more are wrong: see --json`);
  return `${lines.join("\n")}\n`;
}
