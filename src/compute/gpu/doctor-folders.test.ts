import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkFolder, checkTempFolder } from "./doctor-folders.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";

let folder: TemporaryFolder;
let root: string;
beforeAll(async () => {
  folder = await TemporaryFolder.create();
  root = folder.path;
  await writeFile(join(root, "file"), "");
});
afterAll(() => folder[Symbol.asyncDispose]());

test("the temp folder is BUN_TMPDIR, else the system's; it is probed and left as it was", async () => {
  expect(checkTempFolder({})).toMatchObject({ path: tmpdir(), writable: true, executable: true, setBy: undefined });
  expect(checkTempFolder({ BUN_TMPDIR: root })).toMatchObject({
    path: root,
    exists: true,
    writable: true,
    executable: true,
    setBy: "BUN_TMPDIR",
    freeBytes: expect.any(Number),
  });
  expect(await readdir(root)).toEqual(["file"]);
});

test("a temp folder that does not exist is neither writable nor executable", () => {
  const gone = join(root, "gone");
  expect(checkTempFolder({ BUN_TMPDIR: gone })).toMatchObject({ exists: false, writable: false, executable: false });
});

test("a folder that does not exist yet counts as writable where it can be made", async () => {
  const later = join(root, "a", "b");
  expect(checkFolder(later)).toMatchObject({ path: later, exists: false, writable: true });
  await mkdir(later, { recursive: true });
  expect(checkFolder(later)).toMatchObject({ exists: true, writable: true });
  expect(checkFolder(join(root, "file", "below"))).toMatchObject({ exists: false, writable: false });
  expect(checkFolder(join(root, "file"))).toMatchObject({ exists: false, writable: false });
});
