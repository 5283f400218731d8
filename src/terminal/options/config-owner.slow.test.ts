import { describe, expect, test } from "bun:test";
import { chown, lchown, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run, withFile, withOwn } from "./testing/config-folder.ts";
import { cleanEnvironment } from "../../files/testing/process.ts";
import { sample, SAMPLE } from "./testing/spawn.ts";

describe("whose file it is", () => {
  test("what the folder's sets is said in one line, even under --quiet; what is overruled is not set", async () => {
    const yaml =
      'dtype: f32\nscale: [1, 2]\nprompt: "a text\\u001b"\nno-special: true\nbetas: [0.5, 0.6]\nquiet: true\n';
    await withFile(yaml, async (folder) => {
      const { status, stderr } = await sample(["mix", "a", "b", "--betas", "0.1,0.2"], { cwd: folder });
      const words = '--dtype f32 --scale 1 --scale 2 --no-special --prompt "a text\\u001b"';
      expect([status, stderr]).toEqual([0, `randlora.yaml in this folder sets --quiet ${words}\n`]);
      const other = await sample(["walk", "-q"], { cwd: folder });
      expect(other.stderr).toBe("");
      const named = await sample(["mix", "a", "b", "--config", "randlora.yaml"], { cwd: folder });
      expect(named.stderr).toBe("");
    });
  });

  test.skipIf(process.getuid?.() !== 0)("another user's is refused, unless it is named", async () => {
    await withFile("dtype: f32\n", async (folder) => {
      const file = join(folder, "randlora.yaml");
      const refused = async () => {
        const { status, stdout, stderr } = await sample(["mix", "a", "b"], { cwd: folder });
        expect([status, stdout]).toEqual([1, ""]);
        expect(stderr).toStartWith("error: randlora.yaml: it belongs to another user (uid 12345), and is not read\n");
      };
      await chown(file, 12345, 12345);
      await refused();
      expect(await run(folder, ["--config", "randlora.yaml"])).toMatchObject({ dtype: "f32" });
      expect(await run(folder, ["--config", "/dev/null"])).toMatchObject({ dtype: "keep" });
      // A link of another user's to a file of one's own decides no less.
      await rename(file, join(folder, "mine.yaml"));
      await chown(join(folder, "mine.yaml"), 0, 0);
      await symlink("mine.yaml", file);
      await lchown(file, 12345, 12345);
      await refused();
    });
  });

  test("the user's own is read below the folder's, and below what --config names", async () => {
    await withFile("dtype: f32\n", async (folder) => {
      const env = await withOwn(folder, "dtype: bf16\nscale: [3]\n");
      expect(await run(folder, [], env)).toMatchObject({ dtype: "f32", scale: [3] });
      await writeFile(join(folder, "named.yaml"), "dtype: keep\n");
      expect(await run(folder, ["--config", "named.yaml"], env)).toMatchObject({ dtype: "keep", scale: [3] });
      await rm(join(folder, "randlora.yaml"));
      expect(await run(folder, [], env)).toMatchObject({ dtype: "bf16", scale: [3] });
    });
  });

  test.each(["force: true\n", "mix: {force: true}\n", "force: false\n"])(
    "the folder's may not say what is overwritten: %p",
    async (yaml) => {
      await withFile(yaml, async (folder) => {
        const env = await withOwn(folder, "force: true\n");
        const { status, stdout, stderr } = await sample(["mix", "a", "b"], { cwd: folder, env });
        expect([status, stdout]).toEqual([2, ""]);
        const own = join(folder, "xdg", "randlora", "randlora.yaml");
        expect(stderr.trimEnd().split("\n")).toEqual([
          "error: randlora.yaml: force: the current folder's file may not set this",
          `hint: give --force, or set it in ${own} or in a file named by --config`,
        ]);
        // Nor does it stop a command that has no such option.
        expect((await sample(["show", "work", "--quiet"], { cwd: folder, env })).status).toBe(0);
        const named = await run(folder, ["--config", "randlora.yaml"], env);
        expect(named).toMatchObject({ force: !yaml.includes("false") });
        await rm(join(folder, "randlora.yaml"));
        expect(await run(folder, [], env)).toMatchObject({ force: true });
        // In the folder of their own configuration the user's file is the user's.
        expect(await run(join(folder, "xdg", "randlora"), [], env)).toMatchObject({ force: true });
      });
    },
  );

  test.each(["dtpye: f32\n", "a: [1\n", "- a\n"])(
    "a broken one is no matter to commands without options: %p",
    async (yaml) => {
      await withFile(yaml, async (folder) => {
        const spared = await sample(["fail", "format"], { cwd: folder });
        expect(spared.status).toBe(3);
        expect(spared.stderr).toMatch(/^warning: randlora\.yaml: .*; options are not read from files\n/);
        expect(spared.stderr).toContain("error: x.safetensors");
        for (const args of [["--help"], ["--version"], ["mix", "--help"]]) {
          expect(await sample(args, { cwd: folder })).toMatchObject({ status: 0, stderr: "" });
        }
        const named = await sample(["fail", "format", "--config", "randlora.yaml"], { cwd: folder });
        expect(named.stderr).toStartWith("error: randlora.yaml: ");
        expect((await sample(["mix", "a", "b"], { cwd: folder })).stderr).toStartWith("error: randlora.yaml: ");
      });
    },
  );

  test.skipIf(process.platform === "win32")("a pipe is not waited for, unless it is named", async () => {
    await withFile("", async (folder) => {
      await rm(join(folder, "randlora.yaml"));
      expect(await Bun.spawn(["mkfifo", join(folder, "randlora.yaml")]).exited).toBe(0);
      const { status, stderr } = await sample(["mix", "a", "b"], { cwd: folder });
      expect([status, stderr]).toEqual([1, expect.stringContaining("error: randlora.yaml: cannot be read\n")]);
      const piped = ["bash", "-c", `"$0" "$1" mix a b --json --config <(echo 'dtype: bf16')`, process.execPath, SAMPLE];
      const child = Bun.spawn(piped, { cwd: folder, env: cleanEnvironment(), stdout: "pipe" });
      expect(JSON.parse(await child.stdout.text())).toMatchObject({ dtype: "bf16" });
      await writeFile(join(folder, "long.yaml"), "#".repeat(2 ** 16 + 1));
      const long = await sample(["mix", "a", "b", "--config", "long.yaml"], { cwd: folder });
      expect([long.status, long.stderr]).toEqual([3, expect.stringContaining("long.yaml: longer than 65536 bytes\n")]);
    });
  });
});
