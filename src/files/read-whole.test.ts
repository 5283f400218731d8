import { expect, test } from "bun:test";
import { symlink, truncate, writeFile } from "node:fs/promises";
import { MAX_JSON_DEPTH, readJson, readWhole } from "./read-whole.ts";
import { TemporaryFolder, refusalOf } from "./testing/folder.ts";

const posix = test.skipIf(process.platform === "win32");

posix("neither a pipe nor a device is waited for, be it behind a link", async () => {
  await using folder = await TemporaryFolder.create();
  await Bun.$`mkfifo ${folder.at("pipe")}`;
  await symlink(folder.at("pipe"), folder.at("to-pipe"));
  await symlink("/dev/zero", folder.at("to-zero"));
  for (const name of ["pipe", "to-pipe", "to-zero"]) {
    const refusal = await refusalOf(() => readWhole(folder.at(name), 1000));
    expect([refusal.code, refusal.message]).toEqual(["file", `cannot read ${folder.at(name)}: this is not a file`]);
  }
});

posix("a pipe that the user names is read, and a device no further than allowed", async () => {
  const command = `import { readWhole } from ${JSON.stringify(`${import.meta.dir}/read-whole.ts`)};
    console.log(new TextDecoder().decode(await readWhole("/dev/stdin", 100, { pipes: true })));`;
  const read = Bun.spawnSync([process.execPath, "-e", command], { stdin: Buffer.from("text") });
  expect(read.stdout.toString()).toBe("text\n");
  expect((await refusalOf(() => readWhole("/dev/zero", 1000, { pipes: true }))).code).toBe("format");
});

test("a file is read whole up to the limit, and not beyond", async () => {
  await using folder = await TemporaryFolder.create();
  await writeFile(folder.at("a"), "x".repeat(5000));
  expect((await readWhole(folder.at("a"), 5000)).length).toBe(5000);
  expect((await refusalOf(() => readWhole(folder.at("a"), 4999))).code).toBe("format");
  await truncate(folder.at("a"), 2 ** 40);
  const refusal = await refusalOf(() => readWhole(folder.at("a"), 2 ** 20));
  expect(refusal.message).toBe(`${folder.at("a")}: it is longer than the 1 MiB that are read of such a file`);
});

posix("a file of /proc, which says that it is empty", async () => {
  expect((await readWhole("/proc/self/status", 2 ** 20)).length).toBeGreaterThan(100);
});

test.each([
  ["[", "]"],
  ['{"a":', "}"],
])("JSON that nests deeper than anything walks through: %s", async (opening, closing) => {
  await using folder = await TemporaryFolder.create();
  const nested = (depth: number) => `${opening.repeat(depth)}1${closing.repeat(depth)}`;
  await writeFile(folder.at("a"), nested(MAX_JSON_DEPTH));
  expect(JSON.stringify(await readJson(folder.at("a"), 2 ** 30, ""))).toBe(nested(MAX_JSON_DEPTH));
  for (const depth of [MAX_JSON_DEPTH + 1, 1_000_000]) {
    await writeFile(folder.at("a"), nested(depth));
    const refusal = await refusalOf(() => readJson(folder.at("a"), 2 ** 30, ""));
    expect(refusal.message).toBe(`${folder.at("a")}: its arrays and objects are nested more than 200 deep`);
  }
});
