import { expect, test } from "bun:test";
import { join } from "node:path";
import { availableCodes, CPU_CODES } from "../src/compute/cpu/native/choose.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";

test("what fails under one of the codes is said in the end, and what was not tried", async () => {
  await using folder = await TemporaryFolder.create();
  const path = folder.at("code.test.ts");
  await Bun.write(
    path,
    `import { expect, test } from "bun:test";
     test("not by WebAssembly", () => expect(process.env.RANDLORA_CPU_CODE).not.toBe("wasm"));
     test("by any", () => {});`,
  );
  const program = [process.execPath, join(import.meta.dir, "cpu-codes.ts"), path];
  const child = Bun.spawn(program, { stdout: "ignore", stderr: "pipe" });
  const text = await child.stderr.text();
  const lines = text
    .slice(text.lastIndexOf("\nwasm: ") + 1)
    .trim()
    .split("\n");
  const codes = availableCodes();
  const foreign = CPU_CODES.filter((code) => !codes.includes(code));
  const untried = [
    `${codes.at(-1)}: not tried, \`npm test\` computes with it`,
    ...foreign.map((code) => `${code}: not tried, this machine cannot run it`),
  ];
  if (codes.length === 1) {
    expect(lines).toEqual([...untried, "nothing was tested here"]);
    expect(await child.exited).toBe(0);
    return;
  }
  const [failed = "", name, ...others] = lines;
  expect([await child.exited, failed.replace(/[\d.]+ minutes$/, "")]).toEqual([1, "wasm: failed (status 1), "]);
  expect(name).toEndWith("code.test.ts: not by WebAssembly");
  const minutes = expect.stringMatching(/: passed, [\d.]+ minutes$/);
  expect(others).toEqual([...codes.slice(1, -1).map(() => minutes), ...untried]);
});
