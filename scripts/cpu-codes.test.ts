import { expect, test } from "bun:test";
import { join } from "node:path";
import { availableCodes } from "../src/compute/cpu/native/choose.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";

test.skipIf(availableCodes().length === 1)("what fails under one of the codes is said in the end", async () => {
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
  const [failed = "", name, ...others] = text
    .slice(text.lastIndexOf("\nwasm: ") + 1)
    .trim()
    .split("\n");
  expect([await child.exited, failed.replace(/[\d.]+ minutes$/, "")]).toEqual([1, "wasm: failed (status 1), "]);
  expect(name).toEndWith("code.test.ts: not by WebAssembly");
  const minutes = expect.stringMatching(/: passed, [\d.]+ minutes$/);
  expect(others).toEqual(
    availableCodes()
      .slice(1, -1)
      .map(() => minutes),
  );
});
