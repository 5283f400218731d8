import { expect, test } from "bun:test";
import { toByteLevel } from "./byte-level.ts";
import { buildNormalizer } from "./normalizer.ts";

test.each([{ String: "b" }, { Regex: "b" }])("what %p is replaced by stands as it is written", (pattern) => {
  const normalize = buildNormalizer({ type: "Replace", pattern, content: "$&$$1$'" });
  expect(normalize("abcb")).toBe("a$&$$1$'c$&$$1$'");
});

test("bytes of a long text are written as those of a short one", () => {
  const text = "a é\u0000漢😀\n";
  expect(toByteLevel(text.repeat(1000))).toBe(toByteLevel(text).repeat(1000));
});
