import { RandloraError } from "../../../files/errors.ts";

/** A part of a rendered text, in UTF-16 units: `text.slice(start, end)`. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export interface RenderedChat {
  readonly text: string;
  /** What the template puts between `{% generation %}` and `{% endgeneration %}`; undefined without such tags. */
  readonly generated: readonly Span[] | undefined;
  /** Where messages and tools spell a control token: no more than text to whoever tokenizes. */
  readonly plain: readonly Span[];
}

/** Characters that occur nowhere in what is rendered. */
export interface Marks {
  readonly start: string;
  readonly end: string;
  /** Stands behind the first character of a control token that is plain text. */
  readonly plain: string;
}

/** Three of Unicode's noncharacters (U+FDD0 … U+FDEF), which no text should hold, and this one does not. */
export function unusedCharacters(text: string): Marks {
  const free = Array.from({ length: 0x20 }, (_, i) => String.fromCodePoint(0xfdd0 + i)).filter(
    (c) => !text.includes(c),
  );
  const [start, end, plain] = free;
  if (start === undefined || end === undefined || plain === undefined) {
    throw new RandloraError("data", "the messages hold all of Unicode's noncharacters U+FDD0 to U+FDEF");
  }
  return { start, end, plain };
}

/** The values with a mark within every control token in their texts, keys of objects included: no template takes it for one. */
export function markControlTokens<T extends object>(values: T, tokens: readonly string[], mark: string): T {
  const spelled = JSON.stringify(values);
  // As JSON writes them, quotes and line ends escaped.
  const found = tokens.filter((token) => token !== "" && spelled.includes(JSON.stringify(token).slice(1, -1)));
  if (found.length === 0) return values;
  const longestFirst = found.toSorted((left, right) => right.length - left.length).map((token) => RegExp.escape(token));
  const pattern = new RegExp(longestFirst.join("|"), "g");
  const visit = (value: unknown): unknown => {
    if (typeof value === "string") return value.replaceAll(pattern, (token) => token.charAt(0) + mark + token.slice(1));
    if (Array.isArray(value)) return value.map(visit);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [visit(key), visit(inner)]));
  };
  const marked = visit(values);
  return { ...values, ...(typeof marked === "object" ? marked : {}) };
}

export interface CutOptions {
  readonly controlTokens: readonly string[];
  readonly isGenerationMarked: boolean;
}

export function cutMarks(
  marked: string,
  marks: Marks,
  { controlTokens, isGenerationMarked }: CutOptions,
): RenderedChat {
  const generated: Span[] = [];
  const starts: number[] = [];
  let text = "";
  let start = 0;
  for (const character of marked.split(new RegExp(`([${marks.start}${marks.end}${marks.plain}])`))) {
    if (character === marks.start) start = text.length;
    else if (character === marks.end) generated.push({ start, end: text.length });
    else if (character === marks.plain) starts.push(text.length - 1);
    else text += character;
  }
  const plain: Span[] = [];
  for (const start of starts) {
    const lengths = controlTokens.filter((token) => text.startsWith(token, start)).map(({ length }) => length);
    if (start >= (plain.at(-1)?.end ?? 0) && lengths.length > 0)
      plain.push({ start, end: start + Math.max(...lengths) });
  }
  return { text, generated: isGenerationMarked ? generated : undefined, plain };
}
