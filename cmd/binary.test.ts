import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { version } from "../package.json";
import { build } from "../scripts/build.ts";
import { READER } from "../src/chat/serve/reader-messages.ts";

/** Holds the binary and, beside it, the empty folder that it runs in. */
let folder: string;
let binary: string;
let empty: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-binary-"));
  binary = join(folder, "randlora");
  empty = join(folder, "empty");
  await mkdir(empty);
  await build(binary);
}, 120_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs the binary with an environment that knows nothing of this repository or of Bun. */
async function run(...args: string[]) {
  const child = Bun.spawn([binary, ...args], {
    cwd: empty,
    env: { PATH: "/usr/bin:/bin", HOME: empty, ...shaderCache(), ...temporaryFolder() },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { status, stdout, stderr };
}

/** Kernels are compiled once for all tests. */
function shaderCache(): Record<string, string> {
  return { MESA_SHADER_CACHE_DIR: process.env["MESA_SHADER_CACHE_DIR"] ?? join(homedir(), ".cache") };
}

function temporaryFolder(): Record<string, string> {
  const { TMPDIR } = process.env;
  return TMPDIR === undefined ? {} : { TMPDIR };
}

describe("the compiled binary, alone in an empty folder", () => {
  test("is one file", async () => {
    expect((await readdir(folder)).toSorted()).toEqual(["empty", "randlora"]);
  });

  test("carries the GPU library of its platform alone", async () => {
    // Bun's runtime is 110 MB, a GPU library at most 22 MB; all five together are 89 MB.
    expect((await stat(binary)).size).toBeLessThan(160e6);
  });

  test("says its version and the commit that it was built from", async () => {
    const { status, stdout, stderr } = await run("--version");
    expect([status, stderr]).toEqual([0, ""]);
    const [first, ...rest] = stdout.split(/ (?=\()/);
    expect([first?.trim(), rest.join("")]).toEqual([
      version,
      expect.stringMatching(/^(?:\([0-9a-f]{12}(?:-dirty)?\)\n)?$/),
    ]);
  });

  test("starts as the process that reads requests for serve, with the program's own argument", async () => {
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const child = Bun.spawn([binary, READER], {
      cwd: empty,
      ipc: resolve,
      serialization: "advanced",
      stdio: ["ignore", "ignore", "ignore"],
    });
    child.send({ folder: empty, template: undefined, vocabularySize: 1 });
    expect(await promise).toMatchObject({ failure: expect.stringContaining("tokenizer.json: no such file") });
    // It ends with whoever started it, and not by a signal to both.
    child.disconnect();
    expect(await child.exited).toBe(0);
  });

  test("explains itself", async () => {
    const { status, stdout, stderr } = await run("--help");
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toStartWith("Example:\n  randlora ");
    expect(stdout).toContain("  completion ");
  });

  // A driver without a card takes seconds a step: two show that it is found and trains.
  test.each([
    ["cpu", "25", /^(Arr|Ahoy|Yo ho)!/],
    ["0", "2", /\w/],
  ])("carries a model and data: it is trained to talk like a pirate, --device %s", async (device, steps, answer) => {
    const trained = await run("finetune", "--sparse", "--steps", steps, "--json", "--device", device);
    expect(trained).toMatchObject({ status: 0 });
    expect(JSON.parse(trained.stdout)).toMatchObject({
      steps: Number(steps),
      trainable_parameters: expect.any(Number),
    });
    const { stdout } = await run("chat", "-p", "Hello!", "--temperature", "0", "--device", device); // the newest run
    expect(stdout).toMatch(answer);
  });

  test("refuses what it does not know, and names the nearest", async () => {
    expect(await run("--verson")).toEqual({
      status: 2,
      stdout: "",
      stderr: "error: unknown option '--verson'\nhint: did you mean --version?\n",
    });
  });

  test("takes neither a .env file nor a bunfig.toml of the folder for its own", async () => {
    await writeFile(join(empty, ".env"), "RANDLORA_JSON=maybe\n");
    await writeFile(join(empty, "bunfig.toml"), 'preload = ["./missing.ts"]\n');
    const { status, stdout } = await run("completion", "bash");
    expect(status).toBe(0);
    expect(stdout).toContain("complete -o bashdefault");
  });
});
