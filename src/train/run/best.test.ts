import { expect, test } from "bun:test";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bringBestBack, forgetBestBefore, setBestAside } from "./best.ts";
import { refreshFolder } from "./run-folder.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";

const put = (text: string) => async (into: string) => {
  await mkdir(join(into, "inner"));
  for (const name of ["a", "inner/b"]) await writeFile(join(into, name), text);
};

test("the best from before a step comes back, as often as it is asked for", async () => {
  await using folder = await TemporaryFolder.create();
  const [state, best] = [folder.at("step-2"), folder.at("best")];
  await mkdir(state);
  await refreshFolder(best, put("old"));
  await setBestAside(state, best);
  // No second copy of the bytes.
  expect((await stat(join(best, "a"))).nlink).toBe(2);
  await refreshFolder(best, put("new"));
  await setBestAside(state, best); // a process that was killed after the first time does it again
  for (let time = 0; time < 2; time++) {
    await bringBestBack(state, best);
    expect(await readFile(join(best, "inner", "b"), "utf8")).toBe("old");
    expect((await readdir(folder.path)).toSorted()).toEqual(["best", "step-2"]);
  }
  await forgetBestBefore(state);
  expect(await readdir(state)).toEqual([]);
  expect(await readFile(join(best, "a"), "utf8")).toBe("old");
});

test("where there was none before, none is there again", async () => {
  await using folder = await TemporaryFolder.create();
  const [state, best] = [folder.at("step-2"), folder.at("best")];
  await mkdir(state);
  await setBestAside(state, best);
  await refreshFolder(best, put("new"));
  await bringBestBack(state, best);
  await bringBestBack(state, best);
  expect(await readdir(folder.path)).toEqual(["step-2"]);
});
