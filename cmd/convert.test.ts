import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { type TestLora, writeLora } from "../src/adapters/testing/lora.ts";
import { parameters, writeFolder } from "../src/adapters/testing/adapters.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { randlora } from "./testing/program.ts";

/** Runs `randlora convert` on an adapter whose bases nothing explains; `IN` and `OUT` in `args` are its paths. */
async function convert(args: readonly string[], config: Readonly<Record<string, number | string>> = {}) {
  await using folder = await TemporaryFolder.create();
  const [from, out] = [join(folder.path, "in"), join(folder.path, "out")];
  await writeFolder(from, { peft_type: "RANDLORA", r: 4, ...config }, parameters(4, { q: 8 }));
  const paths = args.map((arg) => ({ IN: from, OUT: out })[arg] ?? arg);
  const { status, stdout, stderr } = await randlora(["convert", ...paths]);
  const strip = (text: string) => text.replaceAll(folder.path, "");
  return { status, stdout: strip(stdout), stderr: strip(stderr) };
}

test("says what was written, and warns of what is missing", async () => {
  const { status, stdout, stderr } = await convert(["IN", "--to", "json", "--out", "OUT", "--json"]);
  expect({ status, result: JSON.parse(stdout) }).toEqual({
    status: 0,
    result: { out: "/out", to: "json", tensors: 2, generator: null, projections: false },
  });
  expect(stderr).toBe("warning: /in does not say what drew its bases, and neither does the result\n");
});

test("an adapter that makes no sense is an error of one line, and a hint", async () => {
  const { status, stdout, stderr } = await convert(["IN", "--to", "json", "--out", "OUT"], { r: 0 });
  expect({ status, stdout }).toEqual({ status: 3, stdout: "" });
  expect(stderr.split("\n")).toEqual([
    'error: /in/adapter_config.json: "r" is 0: it must be a positive integer',
    "hint: the file must be as PEFT writes it",
    "",
  ]);
});

/** A LoRA of 6 × 8 and rank 3 in a folder, and the program run on it there. */
const onLora = async (...args: readonly string[]) => await convertLora({ r: 3, modules: { q: [6, 8] } }, args);

async function convertLora(lora: Pick<TestLora, "r" | "modules" | "number">, args: readonly string[]) {
  await using folder = await TemporaryFolder.create();
  await writeLora(folder.at("lora"), { ...lora, alpha: 3, seed: 1 });
  const { status, stdout, stderr } = await randlora(["convert", "lora", ...args], { cwd: folder.path });
  return { status, stdout: stdout.replaceAll(folder.path, ""), stderr };
}

describe("--to lora", () => {
  test("tells what is kept of each matrix and in all", async () => {
    const { status, stdout, stderr } = await onLora("--to", "lora", "--rank", "2", "--out", "low", "--json");
    const figures = {
      energy: expect.any(Number),
      frobenius_error: expect.any(Number),
      frobenius_norm: expect.any(Number),
    };
    expect({ status, stderr, result: JSON.parse(stdout) }).toEqual({
      status: 0,
      stderr: "",
      result: {
        out: "/low",
        to: "lora",
        tensors: 2,
        rank: 2,
        ...figures,
        modules: [{ module: "q", rank: 2, ...figures }],
      },
    });
    const { stdout: text } = await onLora("--to", "lora", "--energy", "1", "--out", "low");
    expect(text.split("\n").map((line) => line.replace(/ +/g, " "))).toEqual([
      "ΔW of rank norm error energy kept",
      expect.stringMatching(/^q 3 [\d.]+ \S+ (> 99\.9|100\.0) %$/),
      expect.stringMatching(/^all /),
      "",
      "/low: a LoRA of 1 module",
      "",
    ]);
  });

  test("layers stand in the order of their numbers, and a rank that keeps little is warned of", async () => {
    const modules = { "layers.10.q": [24, 32], "layers.2.q": [24, 32] } as const;
    const lora = { r: 24, modules, number: (index: number) => Math.sin(index * index) };
    const args = ["--to", "lora", "--out", "low"];
    const { stdout, stderr } = await convertLora(lora, [...args, "--rank", "1"]);
    expect(stdout.match(/^\S+/gm)).toEqual(["ΔW", "layers.2.q", "layers.10.q", "all", "/low:"]);
    const [, share] = /^all .* ([\d.]+ %)$/m.exec(stdout) ?? [];
    expect(stderr).toBe(
      `warning: --rank 1 keeps ${share} of ‖ΔW‖²: the LoRA differs from the adapter; a higher --rank keeps more\n`,
    );
    // Who asks for a share has what was asked for.
    expect((await convertLora(lora, [...args, "--energy", "0.1"])).stderr).toBe("");
  });

  test.each([
    [["--to", "lora"], "--to lora needs --rank or --energy"],
    [["--to", "lora", "--rank", "0"], "--rank"],
    [["--to", "lora", "--energy", "0"], "--energy"],
    [["--to", "lora", "--energy", "1.01"], "--energy"],
    [["--to", "peft", "--rank", "3"], "--rank is not for peft"],
    [["--to", "lora", "--rank", "3", "--projections", "no"], "--projections is not for lora"],
  ])("%j is wrong usage", async (args, message) => {
    const { status, stderr } = await onLora(...args, "--out", "low");
    expect([status, stderr]).toEqual([2, expect.stringContaining(message)]);
  });
});

test("the format and the place must be named", async () => {
  for (const [args, message] of [
    [["IN", "--out", "OUT"], "--to is missing"],
    [["IN", "--to", "peft"], "--out is missing"],
    [["IN", "--to", "onnx", "--out", "OUT"], "--to"],
    [["IN", "--to", "gguf", "--out", "OUT"], "not named as GGUF"],
    [["IN", "--to", "json", "--out", "OUT", "--outtype", "f16"], "--outtype is not for json"],
  ] as const) {
    const { status, stderr } = await convert(args);
    expect(status).toBe(2);
    expect(stderr).toContain(message);
  }
});
