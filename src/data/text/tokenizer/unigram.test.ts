import { expect, test } from "bun:test";
import fc from "fast-check";
import * as v from "valibot";
import { Unigram, UnigramConfig } from "./unigram.ts";

function encode(config: Record<string, unknown>, piece: string): number[] {
  const out: number[] = [];
  new Unigram(v.parse(UnigramConfig, config)).encode(piece, out);
  return out;
}

/** The score of the best of all segmentations; letters are always tokens here. */
function best(scores: ReadonlyMap<string, number>, text: string): number {
  if (text === "") return 0;
  const prefixes = Array.from({ length: text.length }, (_, i) => text.slice(0, i + 1));
  return Math.max(
    ...prefixes.map((prefix) => {
      const score = scores.get(prefix);
      return score === undefined ? -Infinity : score + best(scores, text.slice(prefix.length));
    }),
  );
}

test("finds a segmentation of the highest score", () => {
  const token = fc.string({ unit: fc.constantFrom("a", "b"), minLength: 2, maxLength: 5 });
  const score = fc.integer({ min: -20, max: -1 });
  const text = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 9 });
  fc.assert(
    fc.property(fc.dictionary(token, score, { maxKeys: 8 }), text, (longer, piece) => {
      const vocab: [string, number][] = [["a", -7], ["b", -8], ...Object.entries(longer)];
      const ids = encode({ vocab }, piece);
      expect(ids.map((id) => vocab[id]?.[0]).join("")).toBe(piece);
      expect(ids.reduce((sum, id) => sum + (vocab[id]?.[1] ?? NaN), 0)).toBe(best(new Map(vocab), piece));
    }),
    { numRuns: 200 },
  );
});

const VOCAB = [
  ["<unk>", 0],
  ["a", -1],
  ["<0xC3>", -2],
  ["<0xA9>", -2],
];

test("unknown neighbors become one unknown token, or their bytes", () => {
  expect(encode({ vocab: VOCAB, unk_id: 0 }, "axya")).toEqual([1, 0, 1]);
  expect(encode({ vocab: VOCAB, unk_id: 0, byte_fallback: true }, "aéa")).toEqual([1, 2, 3, 1]);
});

test("an unknown character is an error where there is no unknown token", () => {
  expect(() => encode({ vocab: VOCAB }, "axa")).toThrow(
    expect.objectContaining({ code: "data", message: expect.stringContaining('no token for "x"') }),
  );
  expect(() => encode({ vocab: VOCAB, unk_id: 9 }, "a")).toThrow("unk_id: 9 is not in the vocabulary");
});
