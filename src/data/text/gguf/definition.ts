import * as v from "valibot";
import { type Part, Pattern } from "../tokenizer/part.ts";
import { PATTERNS } from "../tokenizer/pattern.ts";
import { PRE_TOKENIZERS, type PreTokenizer } from "./pre-tokenizers.ts";
import type { BpeFile } from "./vocabulary.ts";

const Sequence = v.object({ pretokenizers: v.array(v.looseObject({ type: v.string() })) });
const Normalizers = v.object({ normalizers: v.array(v.looseObject({ type: v.string() })) });
const Split = v.object({ pattern: Pattern, behavior: v.literal("Isolated"), invert: v.optional(v.literal(false)) });
const ByteLevel = v.object({ add_prefix_space: v.literal(false), use_regex: v.optional(v.boolean(), true) });

/** The parts of a pre-tokenizer or a normalizer, one after another. */
function flat(part: Part | null): readonly Part[] {
  if (part?.type !== "Sequence") return part === null ? [] : [part];
  if (v.is(Sequence, part)) return part.pretokenizers;
  return v.is(Normalizers, part) ? part.normalizers : [part];
}

/** Are tokens written in GPT-2's characters, one a byte? */
export function isByteLevel({ pre_tokenizer, normalizer }: BpeFile): boolean {
  return [...flat(pre_tokenizer), ...flat(normalizer)].some(({ type }) => type === "ByteLevel");
}

/** Does a SentencePiece tokenizer put a blank before a text? */
export function startsWithSpace({ pre_tokenizer, normalizer }: BpeFile): boolean {
  return [...flat(pre_tokenizer), ...flat(normalizer)].some(
    (part) =>
      part.type === "Prepend" ||
      (part.type === "Metaspace" && part["prepend_scheme"] !== "never" && part["add_prefix_space"] !== false),
  );
}

/** Has it SentencePiece's map of characters, which llama.cpp's SentencePiece leaves out? */
export function hasCharsmap({ normalizer }: BpeFile): boolean {
  return flat(normalizer).some(({ type }) => type === "Precompiled");
}

/** llama.cpp's name of a pre-tokenizer that is defined exactly as one of its own; undefined for others. */
export function definitionOf({ pre_tokenizer, model }: BpeFile): string | undefined {
  const parts = [...flat(pre_tokenizer)];
  const last = v.safeParse(ByteLevel, parts.pop());
  if (!last.success) return undefined;
  const digits = parts[0]?.type === "Digits" && parts[0]["individual_digits"] === true;
  if (digits) parts.shift();
  const regex = last.output.use_regex ? PATTERNS.gpt2 : splitAt(parts.shift());
  if (regex === undefined || parts.length > 0) return undefined;
  const wanted = { regex, digits, ignoreMerges: model.ignore_merges };
  return [...PRE_TOKENIZERS].find(([, known]) => Bun.deepEquals(known, wanted))?.[0];
}

/** The same back: the pre-tokenizer of a tokenizer.json. */
export function preTokenizerPart({ regex, digits }: Pick<PreTokenizer, "regex" | "digits">): Part {
  const isGpt2 = regex === PATTERNS.gpt2;
  const parts: Part[] = [
    ...(digits ? [{ type: "Digits", individual_digits: true }] : []),
    ...(isGpt2 ? [] : [{ type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false }]),
    { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: isGpt2 },
  ];
  return { type: "Sequence", pretokenizers: parts };
}

/** How a SentencePiece tokenizer.json writes blanks, and reads them back. @param starts it puts one before a text */
export function spaceParts(starts: boolean): { readonly normalizer: Part; readonly decoder: Part } {
  const blanks = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const back: Part[] = [
    { type: "Replace", pattern: { String: "▁" }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
    ...(starts ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
  ];
  return {
    normalizer: starts ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, blanks] } : blanks,
    decoder: { type: "Sequence", decoders: back },
  };
}

function splitAt(part: Part | undefined): string | undefined {
  const split = v.safeParse(Split, part);
  return split.success && "Regex" in split.output.pattern ? split.output.pattern.Regex : undefined;
}
