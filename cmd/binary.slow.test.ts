// The compiled binary, which is built once for all of this.
import { describe, expect, test } from "bun:test";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { version } from "../package.json";
import { build } from "../scripts/build.ts";
import { READER } from "../src/chat/serve/reader-messages.ts";
import { mountNoexec } from "../src/compute/gpu/testing/gpu.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { ended } from "../src/files/testing/process.ts";
import { Typist } from "../src/terminal/testing/typist.ts";

/** Holds the binary and, beside it, the empty folder that it runs in. */
const folder = await TemporaryFolder.forTests();
const [binary, empty] = [folder.at("randlora"), folder.at("empty")];
await mkdir(empty);
await build(binary);

/** Runs the binary with an environment that knows nothing of this repository or of Bun. */
async function run(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  return await ended(
    Bun.spawn([binary, ...args], {
      cwd: empty,
      env: { PATH: "/usr/bin:/bin", HOME: empty, ...shaderCache(), ...temporaryFolder(), ...env },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    }),
  );
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
    expect((await readdir(folder.path)).toSorted()).toEqual(["empty", "randlora"]);
  });

  test("carries the GPU library of its platform alone", async () => {
    // Bun's runtime is 110 MB, a GPU library at most 22 MB; all five together are 89 MB.
    expect((await stat(binary)).size).toBeLessThan(160e6);
  });

  test("says its version and the commit that it was built from", async () => {
    const { status, stdout, stderr } = await run(["--version"]);
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
    const { status, stdout, stderr } = await run(["--help"]);
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toContain("\n\nExample:\n  randlora ");
    expect(stdout).toContain("  completion ");
  });

  // A driver without a card takes seconds a step: two show that it is found and trains.
  test.each([
    ["cpu", 25, [], /^(Arr|Ahoy|Yo ho)!/],
    ["0", 2, ["--batch-size", "1"], /\w/],
  ] as const)(
    "is trained to talk like a pirate by what it carries, --device %s",
    async (device, steps, more, answer) => {
      const asked = ["--sparse", "--steps", String(steps), ...more, "--json", "--device", device];
      const trained = await run(["finetune", ...asked]);
      expect(trained).toMatchObject({ status: 0 });
      expect(JSON.parse(trained.stdout)).toMatchObject({
        steps,
        trainable_parameters: expect.any(Number),
      });
      const { stdout } = await run(["chat", "-p", "Hello!", "--temperature", "0", "--device", device]); // the newest run
      expect(stdout).toMatch(answer);
    },
  );

  test("refuses what it does not know, and names the nearest", async () => {
    expect(await run(["--verson"])).toEqual({
      status: 2,
      stdout: "",
      stderr: "error: unknown option '--verson'\nhint: did you mean --version?\n",
    });
  });

  test("takes neither a .env file nor a bunfig.toml of the folder for its own", async () => {
    await writeFile(join(empty, ".env"), "RANDLORA_JSON=maybe\n");
    await writeFile(join(empty, "bunfig.toml"), 'preload = ["./missing.ts"]\n');
    const { status, stdout } = await run(["completion", "bash"]);
    expect(status).toBe(0);
    expect(stdout).toContain("complete -o bashdefault");
  });
});

describe("its doctor", () => {
  test.each(["cpu", "0"])("the compiled binary computes right with nothing beside it: --device %s", async (device) => {
    const { status, stdout, stderr } = await run(["doctor", "--json", "--device", device]);
    expect([status, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout)).toMatchObject({ matmul: { correct: true }, temp_folder: { executable: true } });
  });

  test("--verify: every check is right, with bits that are known, and the report file is what --json prints", async () => {
    const { status, stdout, stderr } = await run([
      "doctor",
      "--verify",
      "--json",
      "-q",
      "--device",
      "cpu",
      "--out",
      "report.json",
    ]);
    expect([status, stderr]).toEqual([0, ""]);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ format: "randlora-verification", problems: [], done: report.checks });
    expect(report.checks).toBeGreaterThan(150);
    expect(report.training.map(({ run }: { run: string }) => run)).toEqual(["dense", "sparse", "lora", "dora", "nola"]);
    expect(JSON.parse(await readFile(join(empty, "report.json"), "utf8"))).toEqual(report);
    for (const secret of [folder.path, tmpdir()]) expect(stdout).not.toContain(secret);
  }, 240_000);

  test.if(process.platform === "linux")(
    "--verify that is told to stop ends with its processes, and leaves no file",
    async () => {
      const before = await readdir(empty);
      const command = [binary, "doctor", "--verify", "--device", "cpu", "--out", "stopped.json"];
      const env = { PATH: "/usr/bin:/bin", HOME: empty, NO_COLOR: "1" };
      const typist = new Typist(command, { columns: 120, rows: 20, cwd: empty, env });
      try {
        await typist.until(" checks");
        typist.signal("SIGINT");
        expect(await typist.exited).toBe(130);
        expect(typist.transcript).not.toContain("error");
      } finally {
        await typist.end();
      }
      expect(await readdir(empty)).toEqual(before);
      const left = [...new Bun.Glob("[0-9]*/cmdline").scanSync({ cwd: "/proc", onlyFiles: false })].map((path) =>
        readFile(join("/proc", path), "utf8").catch(() => ""),
      );
      expect((await Promise.all(left)).filter((line) => line.includes("stopped.json"))).toEqual([]);
    },
  );

  test("the library is unpacked into BUN_TMPDIR, and nowhere else", async () => {
    const elsewhere = folder.at("elsewhere");
    await mkdir(elsewhere);
    const { status, stdout } = await run(["doctor", "--json"], { BUN_TMPDIR: elsewhere });
    expect(status).toBe(0);
    expect(JSON.parse(stdout).temp_folder).toMatchObject({ path: elsewhere, set_by: "BUN_TMPDIR" });
    expect((await readdir(elsewhere)).every((name) => name.endsWith(".node"))).toBe(true);
  });

  test.if(process.platform === "linux")("a temp folder mounted noexec is explained, with the way out", async () => {
    await using mount = await mountNoexec();
    if (mount === undefined) throw new Error("no folder can be mounted noexec here");
    for (const name of ["TMPDIR", "BUN_TMPDIR"]) {
      const { status, stdout, stderr } = await run(["doctor", "--device", "software"], { [name]: mount.path });
      expect(status).toBe(1);
      expect(stdout).toMatch(/GPUs +not known\n/);
      expect(stdout).toContain("mounted noexec");
      expect(stderr).toContain("error: cannot load the GPU library: ");
      expect(stderr).toContain(
        `hint: it is unpacked into ${mount.path}, which must be writable and not mounted noexec`,
      );
    }
    const { status } = await run(["doctor", "--device", "software"], { TMPDIR: mount.path, BUN_TMPDIR: folder.path });
    expect(status).toBe(0);
    // The CPU device needs no library.
    const { status: own, stderr } = await run(["doctor"], { BUN_TMPDIR: mount.path });
    expect([own, stderr]).toEqual([0, expect.stringMatching(/^warning: cannot load the GPU library/)]);
  });
});
