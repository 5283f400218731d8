// Kills at many instants, and a disk that is full: a file system of its own, which root may mount.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { Mt19937 } from "../../compute/random/mt19937.ts";
import { mounting } from "../../files/testing/mount.ts";
import { runToEnd } from "../../files/testing/process.ts";
import { TEST_SEED } from "../../files/testing/seed.ts";
import { KilledRuns } from "../testing/killed-run.ts";

let runs: KilledRuns;
beforeAll(async () => {
  runs = await KilledRuns.create();
});
afterAll(() => runs[Symbol.asyncDispose]());

const KILLS = 7;
test("a run that is killed at seven instants comes to what an uninterrupted one comes to", async () => {
  // As far as the machine is as fast these are the same instants again; RANDLORA_TEST_SEED makes others.
  const draws = new Uint32Array(2 * KILLS);
  new Mt19937(BigInt(TEST_SEED)).draw(draws);
  /** The `index`th of them, in 0 … 1. */
  const random = (index: number) => (draws[index] ?? 0) / 2 ** 32;
  let kills = 0;
  for (let round = 0; kills < KILLS; round++) {
    const name = `killed-${round}`;
    for (let attempt = 0; kills < KILLS; attempt++) {
      // A run's first is killed before it has saved anything, each fifth while it starts, others within six lines.
      const after = attempt === 0 ? 1 : kills % 5 === 4 ? 0 : 1 + Math.floor(random(2 * kills) * 6);
      const delay = attempt === 0 ? 0 : random(2 * kills + 1) * (after === 0 ? 600 : 60);
      const lines = await runs.run(name, { signal: "SIGKILL", after, delay });
      if (lines.at(-1) === "finished") break;
      kills++;
    }
    await runs.finish(name);
    expect(await runs.outcome(name), `seed ${TEST_SEED}`).toEqual(runs.whole);
  }
});

test.each([
  ["the first state", 0, /^state.step-0.parameters/],
  ["the best", "step 4", /^best\.[^.]+\.part.adapter_model/],
])("a run that is killed while %s is written goes on as if nothing had happened", async (_, after, until) => {
  await runs.expectSameAfterKill(after, until);
});

const unshare = mounting();
test.skipIf(unshare === undefined)(
  "a full disk ends the run with an error; what was saved before is resumed from elsewhere",
  async () => {
    const { folder, script, data, whole } = runs;
    // Before the run, or once it has saved.
    const shell = `mount -t tmpfs -o size=1m tmpfs "$1" && mkdir "$1/run" || exit 9
      fill() { head -c "$5" /dev/zero > "$1/filler"; }
      [ "$7" = saved ] || fill "$@"
      { "$2" "$3" "$1/run" "$4"; echo $? > "$1.status"; } |
        while read -r line; do [ "$line" != "$7 0" ] || fill "$@"; echo "$line"; done
      cp -r "$1/run" "$6"; exit $(cat "$1.status")`;
    const filled = async (name: string, filler: string, when: string) => {
      const disk = folder.at(`disk-${name}`);
      await mkdir(disk);
      const command = [
        ...(unshare ?? []),
        "sh",
        "-c",
        shell,
        "sh",
        disk,
        ...script,
        data,
        filler,
        folder.at(name),
        when,
      ];
      const { status, stdout } = await runToEnd(command);
      return { status, lines: stdout.trim().split("\n") };
    };
    const full = await filled("full", "1000000", "before");
    expect(full).toEqual({
      status: 1,
      lines: [expect.stringMatching(/^file: .*state: it takes .* MB, and the disk has/)],
    });
    let failed = 0;
    // Room for one state but not for a second beside it; room for a state, but not for all that is made from it.
    for (const filler of ["850000", "900000"]) {
      const out = folder.at(`rescued-${filler}`);
      const { status, lines } = await filled(`rescued-${filler}`, filler, "saved");
      if (lines.at(-1) === "finished") continue; // a file system that stores less than it is given
      failed++;
      expect(status).toBe(1);
      expect(lines.at(-1)).toMatch(/^file: cannot write .*: the disk is full$/);
      const [state = ""] = await readdir(join(out, "state"));
      expect(await Bun.file(join(out, "state", state, "DONE")).exists()).toBe(true);
      await runs.finish(`rescued-${filler}`);
      expect(await runs.outcome(`rescued-${filler}`)).toEqual(whole);
    }
    expect(failed).toBeGreaterThan(0);
  },
);
