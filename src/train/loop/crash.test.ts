import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { Mt19937 } from "../../compute/random/mt19937.ts";
import { mounting } from "../../files/testing/mount.ts";
import { outcomeOf, writeTexts } from "../testing/runs.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";

const SCRIPT = join(import.meta.dir, "../testing/run.ts");

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

/** When a signal is sent: some milliseconds after the process began, or after a line of its output, or when a file is there. */
interface Moment {
  readonly signal: "SIGKILL" | "SIGTERM";
  /** How many lines come before it; or the text that one of them has. */
  readonly after: number | string;
  readonly delay?: number;
  /** Then waits for something like this in the run's folder. */
  readonly until?: RegExp;
}

/** Trains in a process of its own, which may get a signal. */
async function run(name: string, send?: Moment): Promise<{ lines: string[]; status: number | null }> {
  const child = Bun.spawn([process.execPath, SCRIPT, folder.at(name), data], { stdout: "pipe", stderr: "inherit" });
  let text = "";
  let isSent = false;
  const look = () => {
    if (send === undefined || isSent) return;
    const { after, delay = 0, until } = send;
    if (typeof after === "string" ? !text.includes(after) : text.split("\n").length - 1 < after) return;
    isSent = true;
    if (until === undefined) setTimeout(() => child.kill(send.signal), delay);
    else void killWhen(child, name, until);
  };
  look();
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += piece;
    look();
  }
  await child.exited;
  return { lines: text.trim().split("\n"), status: child.exitCode };
}

/** Kills a process as soon as its run's folder has a path like this one. */
async function killWhen(child: Bun.Subprocess, name: string, wanted: RegExp): Promise<void> {
  while (child.exitCode === null && child.signalCode === null) {
    if (readdirSync(folder.at(name), { recursive: true }).some((path) => wanted.test(String(path))))
      child.kill("SIGKILL");
    await Bun.sleep(0);
  }
}

const KILLS = 20;
test("a run that is killed at twenty instants comes to what an uninterrupted one comes to", async () => {
  // The same instants again: CRASH_SEED=… bun test src/train/loop/crash.test.ts (as far as the machine is as fast).
  const seed = Number(process.env["CRASH_SEED"] ?? Date.now() % 1e6);
  const draws = new Uint32Array(2 * KILLS);
  new Mt19937(BigInt(seed)).draw(draws);
  /** The `index`th of them, in 0 … 1. */
  const random = (index: number) => (draws[index] ?? 0) / 2 ** 32;
  let kills = 0;
  for (let round = 0; kills < KILLS; round++) {
    const name = `killed-${round}`;
    for (let attempt = 0; kills < KILLS; attempt++) {
      // A run's first is killed before it has saved anything, each fifth while it starts, others within six lines.
      const after = attempt === 0 ? 1 : kills % 5 === 4 ? 0 : 1 + Math.floor(random(2 * kills) * 6);
      const delay = attempt === 0 ? 0 : random(2 * kills + 1) * (after === 0 ? 600 : 60);
      const { lines } = await run(name, { signal: "SIGKILL", after, delay });
      if (lines.at(-1) === "finished") break;
      kills++;
    }
    expect((await run(name)).lines.at(-1), `seed ${seed}`).toBe("finished");
    expect(await outcomeOf(folder.at(name)), `seed ${seed}`).toEqual(whole);
  }
}, 180_000);

test.each([
  ["the first state is written", 0, /^state.step-0.parameters/],
  ["a state is written", "saved 4", /^state.step-([5-9]|1\d).optimizer/],
  ["the best is written", "step 4", /^best\.[^.]+\.part.adapter_model/],
  ["an adapter is written", "saved 4", /^adapter\.[^.]+\.part.adapter_model/],
])(
  "a run that is killed while %s goes on as if nothing had happened",
  async (_, after, until) => {
    const name = `while-${until.source.replaceAll(/\W/g, "")}`;
    await mkdir(folder.at(name), { recursive: true });
    expect((await run(name, { signal: "SIGKILL", after, until })).lines.at(-1)).not.toBe("finished");
    expect((await run(name)).lines.at(-1)).toBe("finished");
    expect(await outcomeOf(folder.at(name))).toEqual(whole);
    expect((await readdir(folder.at(name))).toSorted()).toEqual([
      "adapter",
      "best",
      "metrics.csv",
      "metrics.jsonl",
      "run.json",
      "state",
    ]);
  },
  60_000,
);

test("SIGTERM finishes the step and saves; the run then goes on from there", async () => {
  const { lines } = await run("stopped", { signal: "SIGTERM", after: "step 3\n" });
  expect(lines.at(-1)).toBe("interrupted");
  const last = Number(lines.at(-2)?.replace("saved ", ""));
  const states = (await readdir(folder.at("stopped", "state"))).map((name) => Number(name.replace("step-", "")));
  // Whether the newest is good nothing has told yet: the one before it stays.
  expect(states.toSorted((a, b) => b - a)).toEqual([last, expect.any(Number)]);
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
