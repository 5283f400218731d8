import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import cases from "../../../../../fixtures/adapters/python-regex.json";
import { RandloraError } from "../../../../files/errors.ts";
import { PythonRegex } from "./regex.ts";

/** Patterns that Python takes and we refuse, rather than match something else. */
const REFUSED = new Set([String.raw`(?ai:\w)`]);
/** A pattern that Python refuses: its look-behind has no fixed width. */
const TAKEN = new Set(["(?<=a+)b"]);

describe(`as ${cases.source}`, () => {
  for (const { pattern, error, full } of cases.cases) {
    if (TAKEN.has(pattern)) continue;
    test(JSON.stringify(pattern), () => {
      if (error !== undefined || REFUSED.has(pattern)) {
        expect(() => new PythonRegex(pattern)).toThrow(RandloraError);
        return;
      }
      const regex = new PythonRegex(pattern);
      const matched = cases.texts.filter((text) => regex.fullmatch(text) !== undefined);
      expect(matched).toEqual((full ?? []).map((index) => cases.texts[index] ?? ""));
    });
  }
});

describe("groups", () => {
  test("by number and by name, across the groups that the translation adds", () => {
    const found = new PythonRegex(String.raw`(?>(a+))(?P<n>b)*+(?P<idx>\d+)\.`).match("aab12.x");
    expect([0, 1, 2, 3, "n", "idx", "other"].map((group) => found?.group(group))).toEqual([
      "aab12.",
      "aa",
      "b",
      "12",
      "b",
      "12",
      undefined,
    ]);
  });

  test("one that takes no part is undefined", () => {
    expect(new PythonRegex("(a)|(b)").fullmatch("b")?.group(1)).toBeUndefined();
  });

  test("match stops anywhere, fullmatch does not", () => {
    const regex = new PythonRegex("ab|abc");
    expect(regex.match("abcd")?.group(0)).toBe("ab");
    expect(regex.fullmatch("abcd")).toBeUndefined();
    expect(regex.fullmatch("abc")?.group(0)).toBe("abc");
  });
});

describe("what JavaScript cannot say is refused by name", () => {
  const refusals: readonly (readonly [pattern: string, cause: string])[] = [
    ["(a)?(?(1)b|c)", "conditional group"],
    [String.raw`(a)?\1`, "group 1, which may take no part"],
    [String.raw`(?:(a)|b)\1`, "group 1, which may take no part"],
    [String.raw`(?:(?P<x>a)|b)(?P=x)`, "group 1, which may take no part"],
    [String.raw`\N{DIGIT ONE}`, "named character"],
    ["(?<=(?>a))b", "atomic group inside a look-behind"],
    [String.raw`(?ai)\w`, "flags a and i"],
  ];
  for (const [pattern, cause] of refusals) {
    test(pattern, () => {
      expect(() => new PythonRegex(pattern)).toThrow(cause);
    });
  }

  test("with the place and a hint", () => {
    const message = 'regular expression "ab(c": missing ), unterminated subpattern at position 2';
    const hint = "write it in Python's syntax, or list the modules by name";
    expect(() => new PythonRegex("ab(c")).toThrow(expect.objectContaining({ code: "adapter", message, hint }));
  });
});

describe("a pattern that keeps a backtracking engine busy for ever", () => {
  const module = `model.layers.0.${"a".repeat(200)}`;

  test.each([
    [String.raw`(.|.)*\d\d`, false],
    ["(a+)+$", false],
    [String.raw`(?:.*\.)*(?:.*)*q_proj`, false],
    [String.raw`(\w+\.?)*`, true],
    [String.raw`(?>(?:.|.)*)\d`, false],
    ["(?=(?:.|.)*x).*", false],
  ])("%s is matched", (pattern, matches) => {
    expect(new PythonRegex(pattern).fullmatch(module) !== undefined).toBe(matches);
    expect(new PythonRegex(`${pattern}!`).match(module)).toBeUndefined();
  });

  test("is refused, with its file, where it refers to what it captured", () => {
    const pattern = new PythonRegex(String.raw`((a|b|ab)*)\1*(?:a|a)*(?:a|a)*!`, "adapter_config.json");
    const message = /^adapter_config\.json: regular expression ".*": it takes too many steps on a text$/;
    expect(() => pattern.fullmatch("ab".repeat(100))).toThrow(expect.objectContaining({ code: "adapter" }));
    expect(() => pattern.fullmatch("ab".repeat(100))).toThrow(message);
  });

  test.each([
    ["(".repeat(100_000), "longer than"],
    ["(".repeat(4000) + ")".repeat(4000), "nested"],
    ["(?:(?:ab){1,1000}){1,1000}", "too large"],
  ])("is refused where it is too large (%#)", (pattern, message) => {
    expect(() => new PythonRegex(pattern)).toThrow(message);
  });
});

test("no pattern does worse than being refused", () => {
  const pieces = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "*",
    "+",
    "?",
    "|",
    "^",
    "$",
    ".",
    "\\",
    "-",
    "a",
    "1",
    ",",
    "(?:",
    "(?P<a>",
    "(?P=a)",
    "(?>",
    "(?i)",
    "(?<=",
    "\\1",
    "\\w",
    "#",
    "😀",
  ];
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 8 }), fc.string({ maxLength: 6 }), (parts, text) => {
      try {
        new PythonRegex(parts.join("")).fullmatch(text);
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(RandloraError);
        expect(thrown).not.toHaveProperty("cause.name", "SyntaxError");
      }
    }),
    { numRuns: 3000 },
  );
});
