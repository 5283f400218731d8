import { describe, expect, test } from "bun:test";
import { toByteLevel } from "./byte-level.ts";
import { buildNormalizer } from "./normalizer.ts";
import { checkPipeline } from "./file.ts";

test.each([{ String: "b" }, { Regex: "b" }])("what %p is replaced by stands as it is written", (pattern) => {
  const normalize = buildNormalizer({ type: "Replace", pattern, content: "$&$$1$'" });
  expect(normalize("abcb")).toBe("a$&$$1$'c$&$$1$'");
});

test("bytes of a long text are written as those of a short one", () => {
  const text = "a é\u0000漢😀\n";
  expect(toByteLevel(text.repeat(1000))).toBe(toByteLevel(text).repeat(1000));
});

describe("SentencePiece's map of characters", () => {
  const precompiled = (bytes: readonly number[]) => ({
    type: "Precompiled",
    precompiled_charsmap: Uint8Array.from(bytes).toBase64(),
  });
  const units = (...trie: readonly number[]) => [
    ...new Uint8Array(Uint32Array.from([trie.length * 4, ...trie]).buffer),
  ];

  test.each([
    ["without a trie", []],
    ["with a trie beyond its end", [8, 0, 0, 0, 1, 2, 3, 4]],
    ["with half a unit", [2, 0, 0, 0, 1, 2]],
  ])("is refused %s", (_, bytes) => {
    expect(() => buildNormalizer(precompiled(bytes))).toThrow(
      `normalizer.precompiled_charsmap: ${bytes.length} bytes do not hold the trie that they begin with`,
    );
  });

  test("is refused where it is no base64", () => {
    const damaged = { type: "Precompiled", precompiled_charsmap: "a*b" };
    expect(() => buildNormalizer(damaged)).toThrow("normalizer.precompiled_charsmap: no base64");
  });

  test("whose trie points beyond its end has nothing there", () => {
    const normalize = buildNormalizer(precompiled(units(0xffff_fc00, 0xffff_ffff)));
    expect(normalize("a\0é\r\n😀")).toBe("a\0é\r\n😀");
  });

  test("makes no text more than a hundred times as long", () => {
    const long = precompiled([...units(0), ...Array.from({ length: 101 }, () => 0x61)]);
    expect(() => checkPipeline(long, "normalizer")).toThrow("it may make a text more than 100 times as long");
  });
});
