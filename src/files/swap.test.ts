import { describe, expect, test } from "bun:test";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { exchangeNames, replaceFolder } from "./swap.ts";
import { TemporaryFolder } from "./testing/folder.ts";

async function oldAndNew(folder: TemporaryFolder): Promise<[part: string, target: string]> {
  for (const [name, text] of [
    ["out", "old"],
    ["out.1-2.part", "new"],
  ] as const) {
    await mkdir(folder.at(name));
    await writeFile(folder.at(name, "file"), text);
  }
  return [folder.at("out.1-2.part"), folder.at("out")];
}

const text = (path: string) => readFile(path, "utf8");

describe("exchangeNames", () => {
  test("exchanges two folders, or two files, where the system can", async () => {
    await using folder = await TemporaryFolder.create();
    const [part, target] = await oldAndNew(folder);
    // Linux and macOS can; a file system that cannot would make this test fail, and the next one still hold.
    const can = process.platform === "linux" || process.platform === "darwin";
    expect(exchangeNames(part, target)).toBe(can);
    expect(await text(folder.at("out", "file"))).toBe(can ? "new" : "old");
    expect(exchangeNames(folder.at("out", "file"), folder.at("out.1-2.part", "file"))).toBe(can);
    expect(await text(folder.at("out", "file"))).toBe("old");
  });

  test("says no, and changes nothing, when one of the names is missing", async () => {
    await using folder = await TemporaryFolder.create();
    const [part] = await oldAndNew(folder);
    expect(exchangeNames(part, folder.at("nothing"))).toBe(false);
    expect((await readdir(folder.path)).toSorted()).toEqual(["out", "out.1-2.part"]);
  });
});

describe("replaceFolder", () => {
  for (const [how, exchange] of [
    ["by an exchange", exchangeNames],
    ["by two renames where there is none", () => false],
  ] as const) {
    test(`puts the new folder in place ${how} and leaves nothing beside it`, async () => {
      await using folder = await TemporaryFolder.create();
      const [part, target] = await oldAndNew(folder);
      await replaceFolder(part, target, exchange);
      expect(await readdir(folder.path)).toEqual(["out"]);
      expect(await text(folder.at("out", "file"))).toBe("new");
    });
  }

  test("puts the old folder back when the new one cannot be renamed", async () => {
    await using folder = await TemporaryFolder.create();
    const [, target] = await oldAndNew(folder);
    const failure = await replaceFolder(folder.at("gone.part"), target, () => false).catch((thrown: unknown) => thrown);
    expect(String(failure)).toContain("ENOENT");
    expect(await text(folder.at("out", "file"))).toBe("old");
    expect((await readdir(folder.path)).toSorted()).toEqual(["out", "out.1-2.part"]);
  });
});
