import { styleText } from "node:util";
import { visibleLines } from "../files/visible.ts";

/** Styles for one stream; every function is the identity where color has no place. */
export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  italic(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
  cyan(text: string): string;
}

/** Part of a stream that this folder needs; process.stdout and process.stderr have it. */
export interface OutputStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Color on a terminal only, never under NO_COLOR (https://no-color.org: any value but the empty one) or TERM=dumb. */
export function createStyle(stream: OutputStream, environment: Environment): Style {
  const wanted = wantsColor(stream, environment);
  // The stream is asked above: an environment that is given counts, not the process's.
  const styled = (format: keyof Style) => (text: string) =>
    wanted ? styleText(format, text, { validateStream: false }) : text;
  return {
    bold: styled("bold"),
    dim: styled("dim"),
    italic: styled("italic"),
    red: styled("red"),
    green: styled("green"),
    yellow: styled("yellow"),
    cyan: styled("cyan"),
  };
}

/** Whether the terminal says that it only types text. */
export function isDumb(environment: Environment): boolean {
  return environment["TERM"] === "dumb";
}

function wantsColor(stream: OutputStream, environment: Environment): boolean {
  const refused = (environment["NO_COLOR"] ?? "") !== "" || isDumb(environment);
  return stream.isTTY === true && !refused;
}

/** Columns that a line may fill: the terminal's width (80 where it says none, or 0), no limit elsewhere. */
export function columnsOf(stream: OutputStream): number {
  return stream.isTTY === true ? Math.max(stream.columns || 80, 20) : Infinity;
}

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
