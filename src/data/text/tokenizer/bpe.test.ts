import { expect, test } from "bun:test";
import fc from "fast-check";
import * as v from "valibot";
import { Bpe, BpeConfig } from "./bpe.ts";

const LETTERS = ["a", "b", "c", "😀"];

/** A vocabulary of letters and of what random merges of its tokens make. */
const merges = fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 30 }).map((picks) => {
  const tokens = [...LETTERS];
  const pairs: [string, string][] = [];
  for (const [i, j] of picks) {
    const left = tokens[i % tokens.length] ?? "";
    const right = tokens[j % tokens.length] ?? "";
    if (tokens.includes(left + right) || left.length + right.length > 12) continue;
    pairs.push([left, right]);
    tokens.push(left + right);
  }
  return { pairs, tokens };
});

function encode(config: Record<string, unknown>, piece: string): number[] {
  const out: number[] = [];
  new Bpe(v.parse(BpeConfig, config)).encode(piece, out);
  return out;
}

/** The definition: while there is a pair to join, join the one of lowest rank that stands leftmost. */
function define(pairs: readonly [string, string][], piece: string): string[] {
  const symbols = Array.from(piece);
  for (;;) {
    const ranks = symbols.map((symbol, i) => {
      const rank = pairs.findIndex(([left, right]) => left === symbol && right === symbols[i + 1]);
      return rank < 0 ? Infinity : rank;
    });
    const least = Math.min(...ranks, Infinity);
    if (least === Infinity) return symbols;
    const at = ranks.indexOf(least);
    symbols.splice(at, 2, (symbols[at] ?? "") + (symbols[at + 1] ?? ""));
  }
}

test("joins pairs as the definition does", () => {
  const text = fc.string({ unit: fc.constantFrom(...LETTERS), maxLength: 60 });
  fc.assert(
    fc.property(merges, text, ({ pairs, tokens }, piece) => {
      const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
      expect(encode({ vocab, merges: pairs }, piece)).toEqual(
        define(pairs, piece).map((symbol) => tokens.indexOf(symbol)),
      );
    }),
    { numRuns: 300 },
  );
});

const VOCAB = { "<unk>": 0, a: 1, b: 2, ab: 3, "<0xC3>": 4, "<0xA9>": 5, "b</w>": 6, "##b": 7, "a##b": 8 };

test.each([
  ["old merges are one text", { merges: ["a b"] }, "ab", [3]],
  ["unknown characters vanish without an unknown token", {}, "axb", [1, 2]],
  ["unknown characters, one token each", { unk_token: "<unk>" }, "axyb", [1, 0, 0, 2]],
  ["unknown characters fused", { unk_token: "<unk>", fuse_unk: true }, "axyb", [1, 0, 2]],
  ["bytes where the vocabulary has them", { unk_token: "<unk>", byte_fallback: true }, "aéx", [1, 4, 5, 0]],
  ["a whole piece ahead of its merges", { ignore_merges: true }, "ab", [3]],
  ["no merges, no joining", {}, "ab", [1, 2]],
  ["a mark at the end of a word", { end_of_word_suffix: "</w>" }, "ab", [1, 6]],
  ["a prefix within a word", { continuing_subword_prefix: "##" }, "ab", [1, 7]],
])("%s", (_, config, piece, ids) => {
  expect(encode({ vocab: VOCAB, merges: [], ...config }, piece)).toEqual(ids);
});
