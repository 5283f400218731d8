import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { runToEnd } from "../../files/testing/process.ts";

// Processes that open a GPU take their time on a busy machine.
setDefaultTimeout(60_000);

/** Runs a mode of testing/process.ts until it ends by itself; a process that hangs fails by the test's time limit. */
const run = (mode: string, env: Readonly<Record<string, string>> = {}) =>
  runToEnd([process.execPath, join(import.meta.dir, "testing/process.ts"), mode], { env });

test.each([
  ["closed", "7"],
  ["abandoned", '"left"'],
  ["thrown", "RandloraError: too large: needs one buffer of"],
  ["two", "[1,2,3]"],
  ["again", "[0,1,2,3,4]"],
])("the process ends by itself, quietly: %s", async (mode, printed) => {
  const { stdout, ...rest } = await run(mode);
  expect(rest).toEqual({ status: 0, stderr: "" });
  expect(stdout).toStartWith(printed);
});

test("a temp folder that does not exist does not cost the GPU", async () => {
  const gone = join(import.meta.dir, "gone");
  expect(await run("closed", { TMPDIR: gone })).toMatchObject({ status: 0, stdout: "7\n" });
});

test.if(process.platform === "linux")("without a driver: words, not the loader's chatter", async () => {
  const { status, stdout, stderr } = await run("closed", { VK_DRIVER_FILES: "/nonexistent" });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(stdout).toStartWith("RandloraError: no GPU and no software GPU was found");
});
