import { expect, test } from "bun:test";
import fc from "fast-check";
import { bytes, choice, count, flag, integer, json, number, numbers, optionalText, repeat, toggle } from "./option.ts";
import { InvalidValue } from "./values.ts";

const help = "";

test("numbers are decimal, finite and within their range", () => {
  const share = number({ help, above: 0, max: 1 });
  for (const [written, value] of [
    ["0.5", 0.5],
    ["1e-3", 0.001],
    [".25", 0.25],
    ["+1", 1],
  ] as const) {
    expect(share.read([written])).toBe(value);
  }
  for (const written of ["", " ", "x", "0x1f", "1e999", "NaN", "Infinity", "0", "1.01", "-1", "1,5"]) {
    expect(() => share.read([written])).toThrow(InvalidValue);
  }
});

test("whole numbers come back exactly, and nothing beyond 2^53 passes silently", () => {
  const seed = integer({ help });
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => seed.read([String(value)]) === value),
    { numRuns: 200 },
  );
  for (const written of ["1.5", "9007199254740993", "1e300"]) expect(() => seed.read([written])).toThrow(InvalidValue);
});

test("sizes and counts understand their units", () => {
  const sizes = {
    "5GB": 5e9,
    "5gb": 5e9,
    "1.5 MB": 1.5e6,
    "2GiB": 2 ** 31,
    "512": 512,
    "7B": 7,
    "8G": 8e9,
    "512m": 512e6,
  };
  for (const [written, value] of Object.entries(sizes)) expect(bytes({ help }).read([written])).toBe(value);
  const counts = { "10M": 1e7, "500K": 5e5, "1.2b": 1.2e9, "7": 7 };
  for (const [written, value] of Object.entries(counts)) expect(count({ help }).read([written])).toBe(value);
  for (const written of ["0", "-1GB", "GB", "5XB", "5G B", "1e9"]) {
    expect(() => bytes({ help }).read([written])).toThrow(InvalidValue);
  }
});

test("choices name what is possible", () => {
  expect(() => choice(["once", "peft"], { help }).read(["twice"])).toThrow("is not one of once, peft");
});

test("a choice spelled as elsewhere is read; one that is almost right is pointed out", () => {
  const hintOf = (written: string): unknown => {
    try {
      return choice(["keep", "f32", "f16", "bf16", "q8"], { help }).read([written]);
    } catch (error) {
      return error instanceof InvalidValue ? error.hint : error;
    }
  };
  expect(["float16", "BFloat16", "fp32", "Q8_0"].map(hintOf)).toEqual(["f16", "bf16", "f32", "q8"]);
  // As it is called where it is a choice itself.
  expect(choice(["q8", "q8_0"], { help }).read(["q8_0"])).toBe("q8_0");
  expect(hintOf("kepe")).toBe("did you mean keep?");
  expect(hintOf("int8")).toBe("");
});

test("flags read the usual words of files and variables", () => {
  for (const written of ["true", "1", "yes", "ON"]) expect(flag({ help }).read([written])).toBe(true);
  for (const written of ["false", "0", "No", "off"]) expect(flag({ help }).read([written])).toBe(false);
  expect(() => flag({ help }).read(["maybe"])).toThrow(InvalidValue);
});

test("a toggle tells `--no-name` from silence", () => {
  const { absent, read } = toggle({ help });
  expect([absent, read(["true"]), read(["false"])]).toEqual([undefined, true, false]);
});

test("the last value of a plain option counts, every value of a repeated one", () => {
  const scale = number({ help });
  expect(scale.read(["1", "2"])).toBe(2);
  expect(repeat(scale).read(["1", "2"])).toEqual([1, 2]);
  expect(repeat(scale).absent).toEqual([]);
});

test("lists of numbers, JSON objects and optional values", () => {
  expect(numbers({ help, length: 2 }).read(["0.9, 0.95"])).toEqual([0.9, 0.95]);
  expect(() => numbers({ help, length: 2 }).read(["0.9"])).toThrow("must be 2 numbers");
  expect(json({ help }).read(['{"a": [1]}'])).toEqual({ a: [1] });
  for (const written of ["[1]", "null", "3", "{"]) expect(() => json({ help }).read([written])).toThrow(InvalidValue);
  expect([optionalText({ help }).read([]), optionalText({ help }).read(["x"])]).toEqual([true, "x"]);
});
