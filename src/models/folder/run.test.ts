import { expect, test } from "bun:test";
import { mkdir } from "node:fs/promises";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { hubNameOf } from "./locate.ts";

const COMMIT = "0123456789".repeat(4);

test("what a run recorded means the same wherever it is read, and whatever lies there", async () => {
  await using folder = await TemporaryFolder.create();
  for (const path of ["org/name", "embedded"]) await mkdir(folder.at(path), { recursive: true });
  const before = process.cwd();
  process.chdir(folder.path);
  try {
    expect(hubNameOf("org/name")).toBeUndefined();
    expect(hubNameOf({ name: "org/name", commit: COMMIT })).toEqual({ repo: "org/name", revision: COMMIT });
    expect(hubNameOf({ name: "org/name@v1", commit: COMMIT })).toEqual({ repo: "org/name", revision: COMMIT });
    expect(hubNameOf({ name: "org/name@v1", commit: null })).toEqual({ repo: "org/name", revision: "v1" });
    for (const name of [folder.at("org/name"), "/gone/away", "embedded"]) {
      expect(hubNameOf({ name, commit: null })).toBeUndefined();
    }
  } finally {
    process.chdir(before);
  }
});
