import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { cp, lstat, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { basename, dirname, join } from "node:path";
import { runToEnd } from "../../files/testing/process.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";

const MODEL = join(import.meta.dir, "../../../fixtures/embedded/model");

/** Where a process finds the embedded model, what it reads there, and who may enter the folder above. */
async function unpack(folder: TemporaryFolder, cache = folder.at("cache")) {
  const script = `
    import { statSync } from "node:fs";
    import { dirname, join } from "node:path";
    const { embeddedModel } = await import(${JSON.stringify(join(import.meta.dir, "embedded.ts"))});
    const path = await embeddedModel();
    const { shownMessage } = await import(${JSON.stringify(join(import.meta.dir, "../../files/shown-paths.ts"))});
    const config = await Bun.file(join(path, "config.json")).text();
    const shown = shownMessage(join(path, "config.json") + ": broken");
    const mode = statSync(dirname(path)).mode & 0o777;
    console.log(JSON.stringify({ path, again: await embeddedModel(), config, mode, shown }));`;
  const env = { RANDLORA_CACHE: cache, TMPDIR: folder.path };
  const { status, stdout, stderr } = await runToEnd([process.execPath, "-e", script], { env });
  expect([status, stderr]).toEqual([0, ""]);
  const found: { path: string; again: string; config: string; mode: number; shown: string } = JSON.parse(stdout);
  expect(found.again).toBe(found.path);
  expect(found.shown).toBe("embedded/config.json: broken");
  return found;
}

describe.skipIf(process.platform === "win32")("the embedded model's files", () => {
  test("are put right where they are not what the program carries", async () => {
    await using folder = await TemporaryFolder.create();
    const own = await readFile(join(MODEL, "config.json"), "utf8");
    const { path, config } = await unpack(folder);
    expect([dirname(path), config]).toEqual([folder.at("cache", "embedded"), own]);
    const file = join(path, "config.json");
    const other = own.replace("llama", "LLAMA");
    // Another content of the same size; a link, whose target stays; a pipe, which nobody writes to.
    await writeFile(file, other);
    expect((await unpack(folder)).config).toBe(own);
    await writeFile(folder.at("mine"), own);
    await rm(file);
    await symlink(folder.at("mine"), file);
    expect((await unpack(folder)).config).toBe(own);
    expect((await lstat(file)).isFile()).toBe(true);
    await rm(file);
    expect(await Bun.spawn(["mkfifo", file]).exited).toBe(0);
    expect((await unpack(folder)).config).toBe(own);
    expect(await readFile(folder.at("mine"), "utf8")).toBe(own);
  });

  test("lie in a private folder where something stands beside them that would change the model", async () => {
    await using folder = await TemporaryFolder.create();
    const { path } = await unpack(folder);
    const template = join(path, "chat_template.jinja");
    await writeFile(template, "{{ 'another' }}");
    const other = await unpack(folder);
    expect([other.path === path, other.mode, existsSync(template)]).toEqual([false, 0o700, true]);
    await rm(template);
    // What a process leaves that was ended while it unpacked.
    await writeFile(join(path, "config.json.0-1-2.part"), "");
    expect((await unpack(folder)).path).toBe(path);
  });

  test("lie in a private folder that goes with the process where the cache cannot be written", async () => {
    await using folder = await TemporaryFolder.create();
    await writeFile(folder.at("file"), "");
    const name = basename((await unpack(folder)).path);
    // What others may put where the folder could be guessed to be.
    const planted = folder.at(`randlora-${userInfo().uid}`, "embedded", name);
    await mkdir(dirname(planted), { recursive: true });
    await cp(MODEL, planted, { recursive: true });
    const { path, config, mode } = await unpack(folder, folder.at("file", "below"));
    expect(config).toBe(await readFile(join(MODEL, "config.json"), "utf8"));
    expect([path === planted, mode, existsSync(dirname(path))]).toEqual([false, 0o700, false]);
  });
});
