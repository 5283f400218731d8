import type { Section, TokenSplitter } from "./added-tokens.ts";
import type { Range } from "./token-ranges.ts";

/** A text in which no added tokens are looked for. */
export interface PlainText {
  readonly plain: string;
}

/**
 * A text cut at its added tokens, but not at those that overlap with `plain`.
 * @param cutsPlain whether what is plain stands by itself: tokens that are looked for later may be in it
 */
export function sectionsOf(
  splitter: TokenSplitter,
  text: string,
  plain: readonly Range[],
  cutsPlain: boolean,
): (Section | PlainText)[] {
  const wellFormed = text.toWellFormed();
  return splitter.place(wellFormed, plain).flatMap(({ start, end, id }) => {
    if (id !== undefined) return [id];
    const inside = cutsPlain ? plain.filter((span) => span.start < end && span.end > start) : [];
    let done = start;
    const sections: (Section | PlainText)[] = [];
    for (const span of inside) {
      if (span.start > done) sections.push(wellFormed.slice(done, span.start));
      sections.push({ plain: wellFormed.slice(span.start, span.end) });
      done = span.end;
    }
    return done < end ? [...sections, wellFormed.slice(done, end)] : sections;
  });
}
