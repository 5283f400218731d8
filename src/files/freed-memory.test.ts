import { expect, test } from "bun:test";
import { join } from "node:path";
import { returnFreedMemory, returnUnpackedFile } from "./freed-memory.ts";

const hasGlibc =
  process.platform === "linux" && "glibcVersionRuntime" in Object(Object(process.report?.getReport()).header);

/** Does a large piece go back to the system when it is freed, after another one was? */
async function goesBack(mode: "return" | "keep"): Promise<string> {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "testing/freed-memory.ts"), mode]);
  return (await child.stdout.text()).trim();
}

test.skipIf(!hasGlibc)(
  "large pieces go back to the system when they are freed, however many there were before",
  async () => {
    expect(await goesBack("keep")).toBe("false");
    expect(await goesBack("return")).toBe("true");
  },
);

test("freed memory can be given back at any time", () => {
  returnFreedMemory();
  returnFreedMemory();
});

test("the program goes on without the pages of its file that it has given back", () => {
  for (let i = 0; i < 3; i++) returnUnpackedFile();
  expect(JSON.parse('{"a": [1, 2]}')).toEqual({ a: [1, 2] });
});
