import { describe, expect, test } from "bun:test";
import { copyFile, readdir, rm } from "node:fs/promises";
import { weights } from "../src/adapters/merge/testing/models.ts";
import { baseAndAdapter, contents, killWriting, runMerge, startWriting, TENSORS } from "./testing/merge.ts";

/** Large enough that a kill hits it in the middle, small enough to be merged in a moment. */
const MODEL = {
  tensors: { ...TENSORS, "model.other.weight": weights("BF16", [500, 1000], 9) },
};
const KILLS = 2;

describe.each([
  ["a folder", "base", false],
  ["a folder that replaces another", "base", true],
  ["a file", "base.safetensors", false],
  ["a file that replaces another", "base.safetensors", true],
] as const)("kill -9 while a merge writes %s", (_, base, force) => {
  test("leaves the input, and under the output's name nothing, the old or the complete new one", async () => {
    await using folder = await baseAndAdapter(MODEL);
    await copyFile(folder.at("base/model.safetensors"), folder.at("base.safetensors"));
    const args = [base, "adapter", "--out", "out"];
    const snapshot = async (name: string) =>
      Object.entries(await contents(folder.path)).filter(([path]) => path.split("/")[0] === name);
    const input = [await snapshot(base), await snapshot("adapter")];

    // What the output may be: the old one, and the new one.
    expect((await runMerge([...args, "--scale", "3"], { cwd: folder.path })).status).toBe(0);
    const old = await snapshot("out");
    expect((await runMerge([...args, "--force"], { cwd: folder.path })).status).toBe(0);
    const complete = await snapshot("out");
    const allowed = force ? [old, complete] : [[], complete];

    let kills = 0;
    for (let attempt = 0; kills < KILLS && attempt < 10 * KILLS; attempt++) {
      if (force) expect((await runMerge([...args, "--scale", "3", "--force"], { cwd: folder.path })).status).toBe(0);
      else await rm(folder.at("out"), { recursive: true, force: true });
      if (await killWriting(folder, ["merge", ...args, ...(force ? ["--force"] : [])], attempt)) kills++;
      expect(allowed).toContainEqual(await snapshot("out"));
      expect([await snapshot(base), await snapshot("adapter")]).toEqual(input);
    }
    expect(kills).toBe(KILLS);
    // The next merge of the same output removes what the dead ones left.
    expect((await runMerge([...args, "--force"], { cwd: folder.path })).status).toBe(0);
    expect((await readdir(folder.path)).toSorted()).toEqual(["adapter", "base", "base.safetensors", "out"]);
    expect(await snapshot("out")).toEqual(complete);
  });
});

test.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)("%s stops a merge with status %d, says so and leaves nothing", async (signal, status) => {
  await using folder = await baseAndAdapter(MODEL);
  const before = await contents(folder.path);
  const child = await startWriting(folder, ["merge", "base", "adapter", "--out", "out"]);
  child.kill(signal);
  expect(await child.stderr.text()).toEndWith("cancelled; nothing written\n");
  expect(await child.exited).toBe(status);
  expect(await contents(folder.path)).toEqual(before);
});
