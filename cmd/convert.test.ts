import { expect, test } from "bun:test";
import { join } from "node:path";
import { parameters, writeFolder } from "../src/adapters/testing/adapters.ts";
import { cleanEnvironment } from "../src/terminal/options/testing/spawn.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";

/** Runs `randlora convert` on an adapter whose bases nothing explains; `IN` and `OUT` in `args` are its paths. */
async function convert(args: readonly string[], config: Readonly<Record<string, number | string>> = {}) {
  await using folder = await TemporaryFolder.create();
  const [from, out] = [join(folder.path, "in"), join(folder.path, "out")];
  await writeFolder(from, { peft_type: "RANDLORA", r: 4, ...config }, parameters(4, { q: 8 }));
  const paths = args.map((arg) => ({ IN: from, OUT: out })[arg] ?? arg);
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "main.ts"), "convert", ...paths], {
    env: cleanEnvironment(),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
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
  expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  expect(stderr.split("\n")).toEqual([
    'error: /in/adapter_config.json: "r" is 0: it must be a positive integer',
    "hint: the file must be as PEFT writes it",
    "",
  ]);
});

test("the format and the place must be named", async () => {
  for (const [args, message] of [
    [["IN", "--out", "OUT"], "--to is missing"],
    [["IN", "--to", "peft"], "--out is missing"],
    [["IN", "--to", "onnx", "--out", "OUT"], "--to"],
    [["IN", "--to", "gguf", "--out", "OUT"], "not named as GGUF"],
    [["IN", "--to", "json", "--out", "OUT", "--outtype", "f16"], "--outtype is for gguf"],
  ] as const) {
    const { status, stderr } = await convert(args);
    expect(status).toBe(2);
    expect(stderr).toContain(message);
  }
});
