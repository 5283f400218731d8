import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { availableCodes, chooseCode, CPU_CODES } from "./choose.ts";

const right = (): undefined => undefined;

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
    expect(chooseCode(undefined, right).code).toBe(availableCodes().at(-1) ?? "wasm");
    for (const code of availableCodes()) expect(chooseCode(code, right).code).toBe(code);
    expect(chooseCode("wasm", right).native).toBeUndefined();
  });

  test("is refused where it is none, or none of this machine's", () => {
    const choices = `one of ${availableCodes().join(", ")}`;
    const unknown = { code: "usage", message: "RANDLORA_CPU_CODE=sse: is no code of the CPU device" };
    expect(() => chooseCode("sse", right)).toThrow(
      expect.objectContaining({ ...unknown, hint: expect.stringContaining(choices) }),
    );
    const other = CPU_CODES.find((code) => !availableCodes().includes(code)) ?? "none";
    expect(() => chooseCode(other, right)).toThrow(
      expect.objectContaining({ code: "usage", hint: expect.stringContaining(choices) }),
    );
  });

  // In processes of their own: what was found wrong once is not tried again.
  const inProcess = (wanted: string) => {
    const program = `
      import { chooseCode } from ${JSON.stringify(`${import.meta.dir}/choose.ts`)};
      try {
        const { code, passed } = chooseCode(${wanted}, () => "a product");
        console.log(JSON.stringify({ code, passed }));
      } catch ({ code, message }) {
        console.log(JSON.stringify({ code, message }));
      }`;
    const { stdout } = Bun.spawnSync([process.execPath, "-e", program], {
      env: { ...process.env, RANDLORA_CPU_CODE: "" },
    });
    return JSON.parse(stdout.toString()) as unknown;
  };

  test("is what computes right: what does not is named, and the next one is taken", () => {
    const wrong = availableCodes().filter((code) => code !== "wasm");
    const passed = wrong.toReversed().map((code) => `${code}: a product differs from WebAssembly's`);
    expect(inProcess("undefined")).toEqual({ code: "wasm", passed });
    const [first] = wrong;
    if (first === undefined) return;
    const message = `${first}: a product differs from WebAssembly's`;
    expect(inProcess(JSON.stringify(first))).toEqual({ code: "gpu", message });
  });
});
