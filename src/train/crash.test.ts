import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { TemporaryFolder } from "../safetensors/testing.ts";
import { mounting } from "../safetensors/testing-mount.ts";
import { outcomeOf, writeTexts } from "./testing.ts";

const SCRIPT = join(import.meta.dir, "testing-run.ts");

let folder: TemporaryFolder;
let data: string;
let whole: Record<string, string>;
beforeAll(async () => {
  folder = await TemporaryFolder.create();
  data = await writeTexts(folder.at("train.jsonl"), 20);
  expect((await run("whole")).lines.at(-1)).toBe("finished");
  whole = await outcomeOf(folder.at("whole"));
}, 60_000);
afterAll(() => folder[Symbol.asyncDispose]());

/** Trains in a process of its own; a signal is sent some milliseconds after a line of its output. */
async function run(
  name: string,
  send?: { readonly signal: "SIGKILL" | "SIGTERM"; readonly after: string; readonly delay: number },
): Promise<{ lines: string[]; status: number | null }> {
  const child = Bun.spawn([process.execPath, SCRIPT, folder.at(name), data], { stdout: "pipe", stderr: "inherit" });
  let text = "";
  let isSent = false;
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += piece;
    if (send === undefined || isSent || !text.includes(send.after)) continue;
    isSent = true;
    setTimeout(() => child.kill(send.signal), send.delay);
  }
  await child.exited;
  return { lines: text.trim().split("\n"), status: child.exitCode };
}

test("a run that is killed again and again comes to what an uninterrupted one comes to", async () => {
  let killed = 0;
  for (const delay of [0, 30, 90, 150, 40]) {
    const { lines } = await run("killed", { signal: "SIGKILL", after: "started", delay: delay + Math.random() * 30 });
    if (lines.at(-1) !== "finished") killed++;
  }
  expect(killed).toBeGreaterThan(0);
  expect((await run("killed")).lines.at(-1)).toBe("finished");
  expect(await outcomeOf(folder.at("killed"))).toEqual(whole);
}, 120_000);

test("SIGTERM finishes the step and saves; the run then goes on from there", async () => {
  const { lines } = await run("stopped", { signal: "SIGTERM", after: "step 3\n", delay: 0 });
  expect(lines.at(-1)).toBe("interrupted");
  const [state = ""] = await readdir(folder.at("stopped", "state"));
  expect(lines.at(-2)).toBe(`saved ${state.replace("step-", "")}`);
  expect((await run("stopped")).lines.at(-1)).toBe("finished");
  expect(await outcomeOf(folder.at("stopped"))).toEqual(whole);
}, 60_000);

const unshare = mounting();
if (unshare !== undefined) {
  test("a full disk ends the run with an error; what was saved before is resumed from elsewhere", async () => {
    const script = `mount -t tmpfs -o size=1m tmpfs "$1" && mkdir "$1/run" || exit 9
      head -c "$5" /dev/zero > "$1/filler"
      "$2" "$3" "$1/run" "$4"; status=$?
      cp -r "$1/run" "$6"; exit $status`;
    let failed = 0;
    // Room for one state but not for a second beside it; room for a state, but not for all that is made from it.
    for (const filler of ["850000", "900000"]) {
      const [disk, out] = [folder.at(`disk-${filler}`), folder.at(`rescued-${filler}`)];
      await mkdir(disk);
      const child = Bun.spawn(
        [...unshare, "sh", "-c", script, "sh", disk, process.execPath, SCRIPT, data, filler, out],
        { stdout: "pipe", stderr: "inherit" },
      );
      const lines = (await new Response(child.stdout).text()).trim().split("\n");
      if (lines.at(-1) === "finished") continue; // a file system that stores less than it is given
      failed++;
      expect(await child.exited).toBe(1);
      expect(lines.at(-1)).toMatch(/^file: cannot write .*: the disk is full$/);
      const [state = ""] = await readdir(join(out, "state"));
      expect(await Bun.file(join(out, "state", state, "DONE")).exists()).toBe(true);
      expect((await run(`rescued-${filler}`)).lines.at(-1)).toBe("finished");
      expect(await outcomeOf(out)).toEqual(whole);
    }
    expect(failed).toBeGreaterThan(0);
  }, 120_000);
}
