import { expect, test } from "bun:test";
import { DTYPES, dtypeBytes, isDtype, isFloat, isWritableFloat } from "./dtype.ts";

test("the known types and their sizes are those of the format", () => {
  const sizes = Object.fromEntries(DTYPES.map((dtype) => [dtype, dtypeBytes(dtype)]));
  expect(sizes).toEqual({
    F64: 8,
    F32: 4,
    F16: 2,
    BF16: 2,
    F8_E4M3: 1,
    F8_E5M2: 1,
    I64: 8,
    I32: 4,
    I16: 2,
    I8: 1,
    U64: 8,
    U32: 4,
    U16: 2,
    U8: 1,
    BOOL: 1,
  });
});

test("names that objects have by themselves are not types", () => {
  for (const name of ["f32", "F4", "", "toString", "__proto__", "constructor"]) expect(isDtype(name)).toBe(false);
});

test("floating types are told apart", () => {
  expect(DTYPES.filter(isFloat)).toEqual(["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"]);
  expect(DTYPES.filter(isWritableFloat)).toEqual(["F64", "F32", "F16", "BF16"]);
});
