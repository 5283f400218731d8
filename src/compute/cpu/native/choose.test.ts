import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { availableCodes, chooseCode, CPU_CODES } from "./choose.ts";

// Whatever this suite runs with.
const { RANDLORA_CPU_CODE: named } = process.env;
beforeAll(() => {
  delete process.env["RANDLORA_CPU_CODE"];
});
afterAll(() => {
  if (named !== undefined) process.env["RANDLORA_CPU_CODE"] = named;
});

describe("what the CPU device computes with", () => {
  test("is the fastest code that runs here, unless one is named", () => {
    expect(chooseCode(undefined).code).toBe(availableCodes().at(-1) ?? "wasm");
    for (const code of availableCodes()) expect(chooseCode(code).code).toBe(code);
    expect(chooseCode("wasm").native).toBeUndefined();
  });

  test("is refused where it is none, or none of this machine's", () => {
    const choices = `one of ${availableCodes().join(", ")}`;
    const unknown = { code: "usage", message: "RANDLORA_CPU_CODE=sse: is no code of the CPU device" };
    expect(() => chooseCode("sse")).toThrow(
      expect.objectContaining({ ...unknown, hint: expect.stringContaining(choices) }),
    );
    const other = CPU_CODES.find((code) => !availableCodes().includes(code)) ?? "none";
    expect(() => chooseCode(other)).toThrow(
      expect.objectContaining({ code: "usage", hint: expect.stringContaining(choices) }),
    );
  });
});
