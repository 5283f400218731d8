import * as v from "valibot";

import { toByteLevel } from "./byte-level.ts";
import { Charsmap, Precompiled } from "./charsmap.ts";
import { Part, Pattern, readPart, unknownPart } from "./part.ts";
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
