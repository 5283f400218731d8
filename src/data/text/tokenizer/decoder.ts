import * as v from "valibot";
import { BYTE_OF, readByteToken } from "./byte-level.ts";
import { Part, Pattern, readPart, unknownPart } from "./part.ts";
import { compileReplace } from "./pattern.ts";

/**
 * One stage of turning tokens into text. It calls its sink with what is final and holds back what it cannot decide yet.
 * A token comes in one or several chunks: `opens` marks its first, `closes` its last. Tokens of the vocabulary are one
 * chunk each; a stage that fuses tokens makes one long token of many chunks.
 */
export interface Stage {
  write(chunk: string, opens: boolean, closes: boolean): void;
  /** Nothing more will come. */
  end(): void;
}

/** Makes a stage that writes into the next one. */
export type StageFactory = (sink: Stage) => Stage;

/** The reference has a `char` there. */
const OneCharacter = v.pipe(
  v.string(),
  v.check((text) => Array.from(text).length === 1, "not one character"),
);
const Sequence = v.looseObject({ decoders: v.array(Part) });
const Replace = v.looseObject({ pattern: Pattern, content: v.string() });
const Count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const Strip = v.looseObject({ content: OneCharacter, start: Count, stop: Count });
const Metaspace = v.looseObject({
  replacement: OneCharacter,
  prepend_scheme: v.optional(v.picklist(["always", "first", "never"])),
  add_prefix_space: v.optional(v.boolean()),
});
const Suffix = v.looseObject({ suffix: v.optional(v.string(), "</w>") });

/** Builds the decoder of tokenizer.json (huggingface/tokenizers, decoders/*.rs). @throws {PartError} */
export function buildDecoder(part: Part | null, where = "decoder"): StageFactory {
  // Without a decoder the reference puts a space between tokens.
  if (part === null) return eachToken((token, i) => (i === 0 ? token : ` ${token}`));
  switch (part.type) {
    case "Sequence": {
      const { decoders } = readPart(Sequence, part, where);
      const chain = decoders.map((inner, i) => buildDecoder(inner, `${where}.decoders.${i}`));
      return (sink) => chain.reduceRight((next, factory) => factory(next), sink);
    }
    case "ByteLevel":
      return (sink) => gather(byteLevel(sink));
    case "ByteFallback":
      return (sink) => gather(byteFallback(sink));
    case "Fuse":
      return fuse;
    case "Replace": {
      const { pattern, content } = readPart(Replace, part, where);
      const replace = compileReplace(pattern, content);
      // One character cannot lie across two chunks, so nothing need be held back.
      return "String" in pattern && pattern.String.length === 1 ? eachChunk(replace) : eachToken(replace);
    }
    case "Strip": {
      const { content, start, stop } = readPart(Strip, part, where);
      return (sink) => strip(sink, content, start, stop);
    }
    case "Metaspace": {
      const { replacement, prepend_scheme, add_prefix_space } = readPart(Metaspace, part, where);
      const drop = prepend_scheme === undefined ? add_prefix_space !== false : prepend_scheme !== "never";
      return eachToken((token, i) => token.replaceAll(replacement, i === 0 && drop ? "" : " "));
    }
    case "BPEDecoder":
      return wordEnds(readPart(Suffix, part, where).suffix);
    default:
      throw unknownPart(where, part.type);
  }
}

/** Hands on whole tokens: chunks wait until their token closes. */
function gather(sink: Stage): Stage {
  let held = "";
  return {
    write(chunk, _opens, closes) {
      held += chunk;
      if (!closes) return;
      const token = held;
      held = "";
      sink.write(token, true, true);
    },
    end: () => sink.end(),
  };
}

/** Rewrites whole tokens, given their number. */
function eachToken(rewrite: (token: string, index: number) => string): StageFactory {
  return (sink) => {
    let index = 0;
    return gather({
      write: (token) => sink.write(rewrite(token, index++), true, true),
      end: () => sink.end(),
    });
  };
}

/** Rewrites chunks one by one. */
function eachChunk(rewrite: (chunk: string) => string): StageFactory {
  return (sink) => ({
    write: (chunk, opens, closes) => sink.write(rewrite(chunk), opens, closes),
    end: () => sink.end(),
  });
}

/** A token's word-end mark becomes a space, the last token's nothing, so that one token is always held back. */
function wordEnds(suffix: string): StageFactory {
  return (sink) => {
    let held: string | undefined;
    return gather({
      write(token) {
        if (held !== undefined) sink.write(held.replaceAll(suffix, " "), true, true);
        held = token;
      },
      end() {
        if (held !== undefined) sink.write(held.replaceAll(suffix, ""), true, true);
        sink.end();
      },
    });
  };
}

/** Everything becomes one token, which closes at the end. */
function fuse(sink: Stage): Stage {
  let opens = true;
  return {
    write(chunk) {
      sink.write(chunk, opens, false);
      opens = false;
    },
    end() {
      sink.write("", opens, true);
      sink.end();
    },
  };
}

/**
 * Tokens are bytes in GPT-2's characters, and all of them together one text: what is not UTF-8 becomes U+FFFD, half
 * characters wait for the rest.
 */
function byteLevel(sink: Stage): Stage {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const encoder = new TextEncoder();
  const fused = fuse(sink);
  return {
    write(token) {
      const bytes: number[] = [];
      for (const character of token) {
        const byte = BYTE_OF.get(character);
        if (byte !== undefined) bytes.push(byte);
        else break;
      }
      // A token with any character outside of the map (an added one) is plain text.
      const mapped = bytes.length === token.length;
      fused.write(
        decoder.decode(mapped ? Uint8Array.from(bytes) : encoder.encode(token), { stream: true }),
        true,
        true,
      );
    },
    end() {
      fused.write(decoder.decode(), true, true);
      fused.end();
    },
  };
}

/**
 * `<0xAB>` tokens are bytes. A run of them is text when all of it is UTF-8; else every byte of the run becomes U+FFFD,
 * those of whole characters too, so that a run is not final before it ends.
 */
function byteFallback(sink: Stage): Stage {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let run: number[] = [];
  const release = () => {
    const bytes = run;
    run = [];
    for (const text of bytes.length === 0 ? [] : decodeRun(decoder, bytes)) sink.write(text, true, true);
  };
  return {
    write(token) {
      const byte = readByteToken(token);
      if (byte === undefined) {
        release();
        sink.write(token, true, true);
      } else {
        run.push(byte);
      }
    },
    end() {
      release();
      sink.end();
    },
  };
}

function decodeRun(decoder: TextDecoder, bytes: readonly number[]): readonly string[] {
  try {
    return [decoder.decode(Uint8Array.from(bytes))];
  } catch {
    return bytes.map(() => "\uFFFD");
  }
}

/** Takes up to `start` and `stop` copies of a character off the two ends of every token. */
function strip(sink: Stage, content: string, start: number, stop: number): Stage {
  let left = 0; // copies that may still come off this token's beginning
  let tail = ""; // copies at the end so far, at most `stop`: dropped if the token closes here
  return {
    write(chunk, opens, closes) {
      if (opens) left = start;
      let from = 0;
      for (; left > 0 && chunk.startsWith(content, from) && from < chunk.length; left--) from += content.length;
      if (from < chunk.length) left = 0;
      const text = tail + chunk.slice(from);
      let end = text.length;
      for (let i = 0; i < stop && end > 0 && text.endsWith(content, end); i++) end -= content.length;
      tail = closes ? "" : text.slice(end);
      sink.write(text.slice(0, end), opens, closes);
    },
    end: () => sink.end(),
  };
}
