import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { workFolder } from "./work-folder.ts";

test("a script's folder goes with it, whatever ends the script, or when the next one begins", async () => {
  const parent = await mkdtemp(join(tmpdir(), "randlora-work-"));
  const work = join(parent, ".pack");
  const script = `const { workFolder } = await import(${JSON.stringify(join(import.meta.dir, "work-folder.ts"))});
    using work = workFolder(${JSON.stringify(parent)});
    await Bun.write(work.path + "/half", "x");
    console.log("begun");
    await Bun.sleep(60_000);`;
  const killedBy = async (signal: NodeJS.Signals) => {
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
    for await (const _ of child.stdout) child.kill(signal);
    await child.exited;
    return child.signalCode;
  };
  expect([await killedBy("SIGTERM"), existsSync(work)]).toEqual(["SIGTERM", false]);
  expect([await killedBy("SIGKILL"), existsSync(join(work, "half"))]).toEqual(["SIGKILL", true]);
  {
    using again = workFolder(parent);
    expect([again.path, existsSync(join(work, "half"))]).toEqual([work, false]);
    await writeFile(join(again.path, "half"), "");
  }
  expect(existsSync(work)).toBe(false);
  await rm(parent, { recursive: true });
});
