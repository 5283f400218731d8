import { visibleLines } from "../files/visible.ts";

/** The codes that `createStyle` writes: weights, colors and their ends. */
// oxlint-disable-next-line no-control-regex -- color codes begin with one
const OWN_CODE = /(\x1b\[(?:1|2|3|22|23|31|32|33|36|39)m)/;

/**
 * Text as it may reach a terminal: nothing steers it but the program's own colors. Everything that is written to a terminal
 * passes here (the line editor and the live line move the cursor themselves).
 * @param clean makes what steers visible
 */
export function steerless(text: string, clean: (part: string) => string = visibleLines): string {
  if (!text.includes("\x1b")) return clean(text);
  return text
    .split(OWN_CODE)
    .map((part, at) => (at % 2 === 1 ? part : clean(part)))
    .join("");
}
