import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..");

/** A stand-in for the repository: the script under test, a lock file, kernels that are compiled, and a PATH of our own making. */
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-setup-"));
  for (const name of ["scripts", "path", "node_modules/.bin", "src/compute/cpu/assembly", "src/compute/cpu/families"]) {
    await mkdir(join(folder, name), { recursive: true });
  }
  for (const name of ["scripts/setup.mjs", "scripts/assembly.mjs"]) {
    await copyFile(join(ROOT, name), join(folder, name));
  }
  await writeFile(join(folder, "src/compute/cpu/assembly/index.ts"), "");
  await writeFile(join(folder, "scripts/assembly-parameters.ts"), "");
  await compiler("compiled");
  await writeFile(join(folder, "node_modules/assemblyscript/package.json"), '{"version":"1.0.0"}');
  const compile = 'import { compileAssembly } from "./scripts/assembly.mjs"; compileAssembly(".");';
  expect(Bun.spawnSync([process.execPath, "-e", compile], { cwd: folder }).exitCode).toBe(0);
  await writeFile(join(folder, "package-lock.json"), "{}");
  await writeFile(join(folder, "driver.json"), "{}");
});

afterEach(() => rm(folder, { recursive: true, force: true }));

/** A compiler that writes this, or fails. */
async function compiler(writes: string | undefined): Promise<void> {
  const bin = join(folder, "node_modules/assemblyscript/bin");
  await mkdir(bin, { recursive: true });
  const target = 'process.argv[process.argv.indexOf("--outFile") + 1]';
  const program = writes && `require("node:fs").writeFileSync(${target}, ${JSON.stringify(writes)});`;
  await writeFile(join(bin, "asc.js"), program ?? "process.exit(1);");
}

/** Whether this machine has one where drivers are looked for, whatever the environment. */
const hasDriver = existsSync("/usr/share/vulkan/icd.d");

async function script(path: string, ...lines: string[]): Promise<void> {
  await writeFile(join(folder, path), ["#!/bin/sh", ...lines, ""].join("\n"));
  await chmod(join(folder, path), 0o755);
}

/** Dependencies as `npm ci` leaves them, `age` seconds older than the lock file, with Bun in place or not. */
async function installed(age: number): Promise<void> {
  const mark = join(folder, "node_modules/.package-lock.json");
  await writeFile(mark, "{}");
  await symlink(process.execPath, join(folder, "node_modules/.bin/bun"));
  const now = Date.now() / 1000;
  await utimes(join(folder, "package-lock.json"), now, now);
  await utimes(mark, now - age, now - age);
}

const INSTALLING = "installing the locked dependencies, once: 200 MB to fetch, 500 MB of disk, seconds to a minute\n";

async function setUp(...args: string[]) {
  const child = Bun.spawn([process.execPath, "scripts/setup.mjs", ...args], {
    cwd: folder,
    env: { PATH: join(folder, "path"), HOME: folder, VK_DRIVER_FILES: join(folder, "driver.json") },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { status, stdout, stderr };
}

describe("set-up", () => {
  test("does nothing where all is in place", async () => {
    await installed(-1);
    expect(await setUp()).toEqual({ status: 0, stdout: "", stderr: "" });
  });

  test("installs what the lock file says when it is newer, and shows the command", async () => {
    await installed(60);
    await script("path/npm", `echo "called with $*"`);
    expect(await setUp()).toEqual({
      status: 0,
      stdout: "called with ci --loglevel=error\n",
      stderr: `${INSTALLING}$ npm ci --loglevel=error\n`,
    });
  });

  test("--omit=dev installs what building and running need, without what neither opens; all the rest when it is wanted", async () => {
    await installed(60);
    const own = `${process.platform}-${process.platform === "darwin" ? "universal" : process.arch}`;
    const kept = [
      `webgpu/dist/${own}/dawn.node`,
      "binaryen/index.js",
      "assemblyscript/dist/asc.js",
      "webgpu/package.json",
    ];
    const unused = [
      "webgpu/dist/plan9-x64/dawn.node",
      "binaryen/bin/wasm-opt",
      "assemblyscript/dist/asc.js.map",
      "typescript/bin/tsc",
      "@typescript/x/tsc",
      "@oven/bun-musl/bun",
    ];
    for (const path of [...kept, ...unused]) {
      await mkdir(join(folder, "node_modules", path, ".."), { recursive: true });
      await writeFile(join(folder, "node_modules", path), "");
    }
    await script(
      "path/npm",
      "/bin/date >node_modules/.package-lock.json; rm -f node_modules/.omit-dev",
      `echo "called with $*"`,
    );
    await script("path/rm", `exec /bin/rm "$@"`);
    expect(await setUp("--omit=dev")).toEqual({
      status: 0,
      stdout: "called with ci --loglevel=error --omit=dev\n",
      stderr:
        "installing what building and running need, once: 145 MB to fetch, 150 MB of disk, seconds to a minute\n" +
        "$ npm ci --loglevel=error --omit=dev\n",
    });
    const left = [...kept, ...unused].filter((path) => existsSync(join(folder, "node_modules", path)));
    expect(left).toEqual(kept);
    expect(await setUp("--omit=dev")).toEqual({ status: 0, stdout: "", stderr: "" });
    const all = {
      status: 0,
      stdout: "called with ci --loglevel=error\n",
      stderr: `${INSTALLING}$ npm ci --loglevel=error\n`,
    };
    expect(await setUp()).toEqual(all);
    expect(await setUp()).toEqual({ status: 0, stdout: "", stderr: "" });
    expect(await setUp("--omit=dev")).toEqual({ status: 0, stdout: "", stderr: "" });
  });

  test("compiles the kernels of the CPU device again where a source or the compiler is another, however old", async () => {
    await installed(-1);
    const kernels = async () => {
      expect(await setUp()).toEqual({ status: 0, stdout: "", stderr: "" });
      return Bun.file(join(folder, "src/compute/cpu/kernels.wasm")).text();
    };
    await compiler("anew");
    expect(await kernels()).toBe("compiled");
    const sources = join(folder, "src/compute/cpu/assembly");
    const changes = {
      "src/compute/cpu/assembly/index.ts": "// another",
      "src/compute/cpu/assembly/more.ts": "// one more",
      "node_modules/assemblyscript/package.json": '{"version":"1.0.1"}',
    };
    for (const [path, text] of Object.entries(changes)) {
      await compiler(path);
      await writeFile(join(folder, path), text);
      await utimes(join(folder, path), 0, 0);
      expect(await kernels()).toBe(path);
    }
    await compiler("without one");
    await rm(join(sources, "more.ts"));
    expect(await kernels()).toBe("without one");
    await compiler(undefined);
    expect(await kernels()).toBe("without one");
    await writeFile(join(sources, "index.ts"), "// a mistake");
    const { status, stderr } = await setUp();
    const refusal = /^error: the CPU device's kernels could not be compiled/;
    expect([status, stderr]).toEqual([1, expect.stringMatching(refusal)]);
  });

  test("brings a Vulkan driver only where one is asked for and missing", async () => {
    await installed(-1);
    await rm(join(folder, "driver.json"));
    await script("path/apt-get", `echo "called with $*"`);
    expect(await setUp()).toEqual({ status: 0, stdout: "", stderr: "" });
    const { status, stdout, stderr } = await setUp("--driver");
    if (hasDriver) expect([status, stdout, stderr]).toEqual([0, "", ""]);
    else expect(stdout + stderr).toContain("install -y --no-install-recommends mesa-vulkan-drivers libvulkan1");
  });

  test("brings a browser only where one is asked for and missing", async () => {
    await installed(-1);
    await script("path/apt-get", `echo "called with $*"`);
    expect(await setUp()).toEqual({ status: 0, stdout: "", stderr: "" });
    const { status, stdout, stderr } = await setUp("--browser");
    const install = "install -y --no-install-recommends chromium";
    if (process.getuid?.() === 0) {
      expect([status, stdout]).toEqual([0, `called with update\ncalled with ${install}\n`]);
    } else {
      expect([status, stdout]).toEqual([0, ""]);
      expect(stderr).toEndWith(`hint: sudo apt-get update && sudo apt-get ${install}\n`);
    }
    await script("path/chromium", "exit 0");
    expect(await setUp("--browser")).toEqual({ status: 0, stdout: "", stderr: "" });
  });

  test("brings the shells that are missing, where they are asked for", async () => {
    await installed(-1);
    await script("path/zsh", "exit 0");
    const { status, stderr } = await setUp("--shells");
    const hint = "hint: install one and try again: dnf install fish\n";
    expect([status, stderr]).toEqual([0, `warning: no fish found on the PATH, in which completion is tested\n${hint}`]);
    await script("path/fish", "exit 0");
    expect(await setUp("--shells")).toEqual({ status: 0, stdout: "", stderr: "" });
  });

  test.skipIf(process.platform !== "linux")(
    "brings the assemblers that are missing, where they are asked for",
    async () => {
      await installed(-1);
      const [own, foreign] = process.arch === "arm64" ? ["as", "x86_64-linux-gnu-as"] : ["as", "aarch64-linux-gnu-as"];
      await script(`path/${own}`, "exit 0");
      const { status, stderr } = await setUp("--assemblers");
      expect([status, stderr]).toEqual([
        0,
        expect.stringMatching(/^warning: no binutils-(x86-64|aarch64)-linux-gnu found, /),
      ]);
      await script(`path/${foreign}`, "exit 0");
      expect(await setUp("--assemblers")).toEqual({ status: 0, stdout: "", stderr: "" });
    },
  );

  test("says what to do where there is no apt, and lets the other tests run", async () => {
    await installed(-1);
    const { status, stderr } = await setUp("--browser");
    expect([status, stderr]).toEqual([
      0,
      "warning: no Chromium found on the PATH, in which the chat page is tested\n" +
        "hint: install one and try again: dnf install chromium\n",
    ]);
  });

  test("stops when that fails", async () => {
    await script("path/npm", "exit 3");
    const { status, stderr } = await setUp();
    expect([status, stderr]).toEqual([
      1,
      `${INSTALLING}$ npm ci --loglevel=error\nerror: the dependencies could not be installed\nhint: see npm's message above\n`,
    ]);
  });
});
