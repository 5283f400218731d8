import * as v from "valibot";
import { toByteLevel } from "./byte-level.ts";
import { Part, PartError, Pattern, readPart, unknownPart } from "./part.ts";
import { compileReplace } from "./pattern.ts";

/** Rewrites a text before it is cut into pieces. */
export type Normalizer = (text: string) => string;

const Sequence = v.looseObject({ normalizers: v.array(Part) });
const Replace = v.looseObject({ pattern: Pattern, content: v.string() });
const Prepend = v.looseObject({ prepend: v.string() });
const Strip = v.looseObject({ strip_left: v.boolean(), strip_right: v.boolean() });

/**
 * Builds the normalizer of tokenizer.json. `BertNormalizer` is refused: no supported architecture has it, and an
 * approximation would give wrong ids in silence.
 *
 * @throws {PartError} for a malformed or unsupported component
 */
export function buildNormalizer(part: Part | null, where = "normalizer"): Normalizer {
  if (part === null) return (text) => text;
  switch (part.type) {
    case "Sequence": {
      const { normalizers } = readPart(Sequence, part, where);
      const chain = normalizers.map((inner, i) => buildNormalizer(inner, `${where}.normalizers.${i}`));
      return (text) => chain.reduce((current, normalize) => normalize(current), text);
    }
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD": {
      const form = part.type;
      return (text) => text.normalize(form);
    }
    case "Replace": {
      const { pattern, content } = readPart(Replace, part, where);
      return compileReplace(pattern, content);
    }
    case "Prepend": {
      const { prepend } = readPart(Prepend, part, where);
      return (text) => (text === "" ? "" : prepend + text);
    }
    case "Lowercase":
      // Letter by letter, as Rust's char::to_lowercase: a final sigma stays σ.
      return (text) => Array.from(text, (character) => character.toLowerCase()).join("");
    case "Strip": {
      const { strip_left, strip_right } = readPart(Strip, part, where);
      return (text) => {
        const left = strip_left ? text.replace(/^\p{White_Space}+/u, "") : text;
        return strip_right ? trimEnd(left) : left;
      };
    }
    case "StripAccents":
      return (text) => text.replaceAll(/\p{M}/gu, "");
    case "ByteLevel":
      return toByteLevel;
    case "Precompiled": {
      const map = new Charsmap(readPart(Precompiled, part, where).precompiled_charsmap, where);
      return (text) => map.normalize(text);
    }
    default:
      throw unknownPart(where, part.type);
  }
}

/** Not a regular expression: /\s+$/ is quadratic on long runs inside of a text. */
function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && /\p{White_Space}/u.test(text.charAt(end - 1))) end--;
  return text.slice(0, end);
}

/** `Precompiled`, as tokenizer.json has it: SentencePiece's map of characters in base64. */
export const Precompiled = v.looseObject({
  type: v.literal("Precompiled"),
  precompiled_charsmap: v.string(),
});

/** Units of a Darts double array (s-yata/darts-clone, darts.h). */
const hasLeaf = (unit: number) => ((unit >>> 8) & 1) === 1;
const label = (unit: number) => (unit & 0x8000_00ff) >>> 0;
const offset = (unit: number) => (unit >>> 10) << ((unit & 0x200) >>> 6);
const value = (unit: number) => unit & 0x7fff_ffff;

/** Longer graphemes, in UTF-8 bytes, are looked up by characters. */
const LONGEST_GRAPHEME = 5;
/** Graphemes whose texts are kept: more than a language has. */
const MOST_KNOWN = 2 ** 16;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });

/**
 * SentencePiece's normalization: a trie of UTF-8 bytes whose values are places in a list of texts, each ended by a NUL
 * (google/sentencepiece, normalizer.cc). It is applied as the reference does, which departs from SentencePiece: by
 * graphemes, then characters, and a text is replaced as a whole where the map has its beginning (huggingface/tokenizers,
 * normalizers/precompiled.rs; huggingface/spm_precompiled).
 */
export class Charsmap {
  readonly #trie: Uint32Array;
  readonly #texts: Uint8Array;
  readonly #known = new Map<string, string | undefined>();

  /** @throws {PartError} where it is no base64, or the sizes do not fit */
  constructor(base64: string, where = "normalizer") {
    const bytes = bytesOf(base64, where);
    const size = bytes.length < 4 ? NaN : new DataView(bytes.buffer).getUint32(0, true);
    if (!(size >= 4 && size % 4 === 0 && size <= bytes.length - 4)) {
      throw new PartError(
        `${where}.precompiled_charsmap: ${bytes.length} bytes do not hold the trie that they begin with`,
      );
    }
    this.#trie = new Uint32Array(bytes.slice(4, 4 + size).buffer);
    this.#texts = bytes.subarray(4 + size);
  }

  /** Characters of the longest text that the map has for another one. */
  get longest(): number {
    const texts = decoder.decode(this.#texts).split("\0");
    return texts.reduce((most, { length }) => Math.max(most, length), 1);
  }

  normalize(text: string): string {
    let normalized = "";
    for (const { segment } of graphemes.segment(text)) {
      const whole = this.#lookUp(segment);
      if (whole !== undefined || segment.length === 1) normalized += whole ?? segment;
      else for (const character of segment) normalized += this.#lookUp(character) ?? character;
    }
    return normalized;
  }

  #lookUp(text: string): string | undefined {
    if (text.length > LONGEST_GRAPHEME) return undefined;
    if (this.#known.size >= MOST_KNOWN) this.#known.clear();
    if (!this.#known.has(text)) this.#known.set(text, this.#find(encoder.encode(text)));
    return this.#known.get(text);
  }

  /** What stands for the shortest beginning of `bytes` that the map has. */
  #find(bytes: Uint8Array): string | undefined {
    if (bytes.length > LONGEST_GRAPHEME) return undefined;
    let at = offset(this.#trie[0] ?? 0);
    for (const byte of bytes) {
      at ^= byte;
      const unit = this.#trie[at] ?? 0;
      if (byte === 0 || label(unit) !== byte) return undefined;
      at ^= offset(unit);
      if (hasLeaf(unit)) return this.#textAt(value(this.#trie[at] ?? 0));
    }
    return undefined;
  }

  #textAt(start: number): string {
    const end = this.#texts.indexOf(0, start);
    return decoder.decode(this.#texts.subarray(start, end < 0 ? undefined : end));
  }
}

function bytesOf(base64: string, where: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.fromBase64(base64);
  } catch {
    throw new PartError(`${where}.precompiled_charsmap: no base64`);
  }
}
