import { visibleLines } from "../../files/visible.ts";
import type { Style } from "../../terminal/style.ts";
import type { MarkedText } from "../../data/text/samples/marked-text.ts";

/** Characters of a sample that are shown; the middle of a longer one is left out. */
const LONGEST = 1200;

/**
 * A sample for people: what is supervised is green, the rest dim; without colors it stands between ⟦ and ⟧. Control
 * characters are shown as symbols of them: a data set must not drive the terminal.
 *
 * @returns lines, each indented and ended by a newline; newlines at the sample's end are left out
 */
export function sampleText(parts: readonly MarkedText[], style: Style): string {
  const isColored = style.green("x") !== "x";
  const mark = ({ text, supervised }: MarkedText): string => {
    if (!isColored) return supervised ? `⟦${text}⟧` : text;
    const paint = supervised ? style.green : style.dim;
    // Line by line, so that the indentation between them stays plain.
    return text
      .split("\n")
      .map((line) => (line === "" ? "" : paint(line)))
      .join("\n");
  };
  const shown = shorten(parts.map((part) => ({ ...part, text: visibleLines(part.text.replaceAll("\r\n", "␍\n")) })));
  const text = shown.map(mark).join("").replace(/\n+$/, "");
  return `${text.replace(/^(?=.)/gm, "  ")}\n`;
}

/** Leaves out the middle, where there is too much. */
function shorten(parts: readonly MarkedText[]): MarkedText[] {
  const total = parts.reduce((sum, { text }) => sum + text.length, 0);
  const excess = total - LONGEST;
  if (excess <= 0) return [...parts];
  const from = LONGEST / 2;
  let at = 0;
  return parts.flatMap((part) => {
    const start = at;
    at += part.text.length;
    const head = part.text.slice(0, Math.max(from - start, 0));
    const tail = part.text.slice(Math.max(from + excess - start, 0));
    if (head.length >= part.text.length || start >= from + excess) return [part];
    const left = start <= from && from < at ? ` … ${excess} characters … ` : "";
    return head + left + tail === "" ? [] : [{ ...part, text: (head + left + tail).toWellFormed() }];
  });
}
