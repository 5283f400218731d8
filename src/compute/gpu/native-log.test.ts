import { expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { openLibc } from "../../files/libc.ts";
import { catchNativeLog } from "./native-log.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";

const libc = openLibc({ write: { args: ["i32", "buffer", "usize"], returns: "i64" } });

test.skipIf(libc === undefined)("what is written to file descriptor 2 meanwhile is caught", async () => {
  const text = new TextEncoder().encode("a driver's warning\n");
  const { result, log } = await catchNativeLog(async () => libc?.write(2, text, text.length));
  expect([Number(result), log]).toEqual([text.length, "a driver's warning\n"]);
});

test("nothing stays in the temporary folder of a process that is killed meanwhile", async () => {
  await using folder = await TemporaryFolder.create();
  const script = `
    import { catchNativeLog } from ${JSON.stringify(join(import.meta.dir, "native-log.ts"))};
    await catchNativeLog(async () => {
      process.stdout.write("begun");
      await Bun.sleep(60_000);
    });
  `;
  const env = { ...process.env, TMPDIR: folder.path, TEMP: folder.path };
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", env });
  await child.stdout.getReader().read();
  child.kill("SIGKILL");
  await child.exited;
  expect((await readdir(folder.path)).filter((name) => name.startsWith("randlora-"))).toEqual([]);
});
