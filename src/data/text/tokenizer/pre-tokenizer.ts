import * as v from "valibot";
import { toByteLevel } from "./byte-level.ts";
import { Part, PartError, Pattern, readPart, unknownPart } from "./part.ts";
import { compilePattern, NativePattern, type TextPattern } from "./pattern.ts";

/** What happens to the delimiters of a split; tokenizers' `SplitDelimiterBehavior`. */
export const BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"] as const;
type Behavior = (typeof BEHAVIORS)[number];

/**
 * Cuts a normalized text into the pieces that the model sees one by one, as they are asked for: whoever has enough of
 * a long text stops there.
 *
 * @param first the text stands at the very beginning of the input
 */
export type PreTokenizer = (text: string, first: boolean) => Iterable<string>;

/*
 * The library's own pre-tokenizers use JavaScript's \s, \d and \w where the reference has Unicode's classes (Digits
 * splits ٣ and ½, ByteLevel takes U+0085 but not U+FEFF for white space), and know two of the five split behaviors.
 */
const GPT2 = new NativePattern(
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu,
);
/** `\w+|[^\w\s]+` as Rust's regex crate has it, where `\w` holds the joiners of emoji. */
const WORDS = new NativePattern(
  /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+/gu,
);
const SPACE = new NativePattern(/\p{White_Space}/gu);
const DIGIT = new NativePattern(/\p{N}/gu);
/** Unicode's punctuation and what ASCII calls punctuation: $ + < = > ^ ` | ~ are symbols to Unicode. */
const PUNCTUATION = new NativePattern(/[\p{P}$+<=>^`|~]/gu);

const BehaviorName = v.picklist(BEHAVIORS);
const Sequence = v.looseObject({ pretokenizers: v.array(Part) });
const ByteLevel = v.looseObject({ add_prefix_space: v.boolean(), use_regex: v.optional(v.boolean(), true) });
const Split = v.looseObject({ pattern: Pattern, behavior: BehaviorName, invert: v.optional(v.boolean(), false) });
const Digits = v.looseObject({ individual_digits: v.optional(v.boolean(), false) });
const Punctuation = v.looseObject({ behavior: v.optional(BehaviorName, "Isolated") });
const CharDelimiterSplit = v.looseObject({ delimiter: v.string() });
const FixedLength = v.looseObject({ length: v.pipe(v.number(), v.integer(), v.minValue(1)) });
const Metaspace = v.looseObject({
  replacement: v.string(),
  prepend_scheme: v.optional(v.picklist(["always", "first", "never"])),
  add_prefix_space: v.optional(v.boolean()), // how files before prepend_scheme wrote always and never
  split: v.optional(v.boolean(), true),
});

/**
 * Builds the pre-tokenizer of tokenizer.json, with the reference's exact behavior (huggingface/tokenizers,
 * pre_tokenizers/*.rs).
 *
 * @throws {PartError} for a malformed or unsupported component
 */
export function buildPreTokenizer(part: Part | null, where = "pre_tokenizer"): PreTokenizer {
  if (part === null) return (text) => [text];
  switch (part.type) {
    case "Sequence": {
      const { pretokenizers } = readPart(Sequence, part, where);
      const chain = pretokenizers.map((inner, i) => buildPreTokenizer(inner, `${where}.pretokenizers.${i}`));
      return (text, first) =>
        chain.reduce<Iterable<string>>((pieces, cut) => cutAgain(text, first, pieces, cut), [text]);
    }
    case "ByteLevel": {
      const { add_prefix_space, use_regex } = readPart(ByteLevel, part, where);
      return (text) => {
        const spaced = add_prefix_space && !text.startsWith(" ") ? ` ${text}` : text;
        return use_regex ? splitText(spaced, GPT2, "Isolated").map(toByteLevel) : [toByteLevel(spaced)];
      };
    }
    case "Split": {
      const { pattern, behavior, invert } = readPart(Split, part, where);
      const compiled = compilePattern(pattern);
      return (text) => splitText(text, compiled, behavior, invert);
    }
    case "Digits": {
      const { individual_digits } = readPart(Digits, part, where);
      return (text) => splitText(text, DIGIT, individual_digits ? "Isolated" : "Contiguous");
    }
    case "Punctuation": {
      const { behavior } = readPart(Punctuation, part, where);
      return (text) => splitText(text, PUNCTUATION, behavior);
    }
    case "Metaspace":
      return buildMetaspace(part, where);
    case "Whitespace":
      return (text) => splitText(text, WORDS, "Removed", true);
    case "WhitespaceSplit":
      return (text) => splitText(text, SPACE, "Removed");
    case "CharDelimiterSplit": {
      const { delimiter } = readPart(CharDelimiterSplit, part, where);
      const compiled = compilePattern({ String: delimiter });
      return (text) => splitText(text, compiled, "Removed");
    }
    case "FixedLength": {
      const { length } = readPart(FixedLength, part, where);
      const compiled = compilePattern({ Regex: `[\\s\\S]{1,${length}}` });
      return (text) => splitText(text, compiled, "Isolated");
    }
    default:
      throw unknownPart(where, part.type);
  }
}

function* cutAgain(text: string, first: boolean, pieces: Iterable<string>, cut: PreTokenizer): Generator<string> {
  // Where what stood before it was removed, the first piece is not the text's beginning.
  let begins = first;
  for (const piece of pieces) {
    yield* cut(piece, begins && text.startsWith(piece));
    begins = false;
  }
}

function buildMetaspace(part: Part, where: string): PreTokenizer {
  const { replacement, prepend_scheme, add_prefix_space, split } = readPart(Metaspace, part, where);
  if (Array.from(replacement).length !== 1) throw new PartError(`${where}.replacement is not one character`);
  const scheme = prepend_scheme ?? (add_prefix_space === false ? "never" : "always");
  const delimiter = compilePattern({ String: replacement });
  return (text, first) => {
    const replaced = text.replaceAll(" ", () => replacement);
    const prepend = (scheme === "always" || (scheme === "first" && first)) && !replaced.startsWith(replacement);
    const marked = prepend ? replacement + replaced : replaced;
    return split ? splitText(marked, delimiter, "MergedWithNext") : [marked];
  };
}

/** A stretch of text that matches, or does not; it reaches to where the next one starts. */
interface Stretch {
  readonly start: number;
  readonly delimiter: boolean;
}

/**
 * Cuts a text at the matches of a pattern, as tokenizers' `NormalizedString::split` does.
 *
 * @param invert what does not match is the delimiter
 * @returns the pieces in order, none of them empty; the text is searched as they are asked for
 */
export function* splitText(text: string, pattern: TextPattern, behavior: Behavior, invert = false): Generator<string> {
  let from = 0; // where the piece begins that is not cut yet
  let last: Stretch | undefined;
  for (const stretch of stretches(text, pattern, invert)) {
    if (last !== undefined) {
      const { start, delimiter } = stretch;
      if (behavior !== "Removed" && joins(behavior, last.delimiter, delimiter)) {
        last = stretch;
        continue;
      }
      if (start > from && !(behavior === "Removed" && last.delimiter)) yield text.slice(from, start);
      from = start;
    }
    last = stretch;
  }
  if (from < text.length && !(behavior === "Removed" && last?.delimiter === true)) yield text.slice(from);
}

function* stretches(text: string, pattern: TextPattern, invert: boolean): Generator<Stretch> {
  let end = 0;
  for (const match of pattern.matchAll(text)) {
    if (match.start > end) yield { start: end, delimiter: invert };
    // Empty matches count for merging but yield no piece of their own.
    yield { start: match.start, delimiter: !invert };
    ({ end } = match);
  }
  if (end < text.length) yield { start: end, delimiter: invert };
}

function joins(behavior: Behavior, delimiter: boolean, next: boolean): boolean {
  if (behavior === "Contiguous") return delimiter === next;
  if (behavior === "MergedWithPrevious") return next && !delimiter;
  return behavior === "MergedWithNext" && delimiter && !next;
}
