import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readSync } from "node:fs";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { version } from "../package.json";
import { launcherManifest, platformManifest, platformPackage } from "./npm-packages.ts";
import { isTarget, TARGETS } from "./runtimes.ts";

const targets = Object.keys(TARGETS).filter(isTarget);

test("packages have no script, and each platform's is for that platform alone", () => {
  const manifests = [launcherManifest(), ...targets.map(platformManifest)];
  expect(manifests.filter((manifest) => "scripts" in manifest)).toEqual([]);
  expect(launcherManifest().optionalDependencies).toEqual(
    Object.fromEntries(targets.map((target) => [platformPackage(target), version])),
  );
  expect(platformManifest("windows-x64")).toMatchObject({ name: "randlora-win32-x64", os: ["win32"], cpu: ["x64"] });
  const libc = ["glibc"];
  expect(platformManifest("linux-arm64")).toMatchObject({ os: ["linux"], cpu: ["arm64"], libc, preferUnplugged: true });
});

test("the package hands on all that the library exports", async () => {
  const text = await Bun.file(join(import.meta.dir, "npm/library.mjs")).text();
  const [, names = ""] = text.match(/export const \{(.*?)\}/s) ?? [];
  expect(names.trim().split(/,\s*/)).toEqual(Object.keys(await import("../src/library/index.ts")).toSorted());
});

describe.if(process.platform !== "win32")("the launcher", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "randlora-launcher-"));
    const manifest = JSON.stringify({
      ...launcherManifest(),
      optionalDependencies: { "randlora-plan9-mips": version },
    });
    await writeFile(join(folder, "package.json"), manifest);
    for (const file of ["randlora.mjs", "platform.mjs"]) {
      await Bun.write(join(folder, file), Bun.file(join(import.meta.dir, "npm", file)));
    }
  });
  afterAll(() => rm(folder, { recursive: true }));

  function start(args: readonly string[], extra: Readonly<Record<string, string>> = {}, input = "") {
    const env = { PATH: process.env["PATH"] ?? "", ...extra };
    const stdin = new Blob([input]);
    return Bun.spawn(["node", "randlora.mjs", ...args], { cwd: folder, env, stdin, stdout: "pipe", stderr: "pipe" });
  }

  async function run(...args: Parameters<typeof start>) {
    const child = start(...args);
    const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return { status, signal: child.signalCode, stdout, stderr };
  }

  /** A program that RANDLORA_BINARY names. */
  async function binary(...lines: readonly string[]): Promise<{ readonly RANDLORA_BINARY: string }> {
    const path = join(folder, "binary");
    await writeFile(path, ["#!/bin/sh", ...lines, ""].join("\n"));
    await chmod(path, 0o755);
    return { RANDLORA_BINARY: path };
  }

  test("passes arguments, streams and exit status", async () => {
    const env = await binary('printf "%s|" "$@"; cat; echo noise >&2; exit 7');
    expect(await run(["a b", "", "--x=$Y"], env, "input")).toEqual({
      status: 7,
      signal: null,
      stdout: "a b||--x=$Y|input",
      stderr: "noise\n",
    });
  });

  test.each([true, false])("passes the socket of MPICH's launcher, where it is open: %p", async (isOpen) => {
    const env = { PATH: process.env["PATH"] ?? "", PMI_FD: "7", ...(await binary("echo hello >&7")) };
    const program = ["sh", "-c", `${isOpen ? "" : "exec 7>&-; "}exec node randlora.mjs`];
    const others = Array.from({ length: 5 }, () => "pipe" as const);
    const child = Bun.spawn(program, { cwd: folder, env, stdio: ["ignore", "ignore", "ignore", ...others] });
    expect((await child.exited) === 0).toBe(isOpen);
    const socket = child.stdio[7];
    if (isOpen) expect(typeof socket === "number" && readSync(socket, new Uint8Array(9))).toBe(6);
  });

  test("ends by the signal that ended the binary", async () => {
    expect(await run([], await binary("kill -TERM $$"))).toMatchObject({ signal: "SIGTERM" });
  });

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("passes %s on, and waits for the binary to end", async (name) => {
    const trap = `trap 'echo cleaned; exit 9' ${name.slice(3)}`;
    const child = start([], await binary(trap, "echo waiting", "while :; do sleep 0.05; done"));
    let seen = "";
    for await (const bytes of child.stdout) {
      seen += new TextDecoder().decode(bytes);
      if (seen === "waiting\n") child.kill(name);
    }
    expect([seen, await child.exited]).toEqual(["waiting\ncleaned\n", 9]);
  });

  test("names the platforms that there are, and a binary that does not start", async () => {
    expect((await run([])).stderr).toBe(
      `error: randlora has no binary for ${process.platform}-${process.arch}\nhint: there are binaries for plan9-mips\n`,
    );
    const { status, stderr } = await run([], { RANDLORA_BINARY: "/nowhere/randlora" });
    expect([status, stderr]).toEqual([
      1,
      expect.stringMatching(/^error: \/nowhere\/randlora: cannot be started \(.*ENOENT\)\nhint: /),
    ]);
  });
});
