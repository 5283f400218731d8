import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "../scripts/build.ts";
import { mountNoexec } from "../src/compute/gpu/testing/gpu.ts";
import { Typist } from "../src/terminal/testing/typist.ts";

// Processes that open a GPU take their time on a busy machine.
setDefaultTimeout(60_000);

let folder: string;
let home: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-doctor-binary-"));
  home = join(folder, "home");
  await mkdir(home);
  await build(join(folder, "randlora"));
}, 120_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

async function doctor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const child = Bun.spawn([join(folder, "randlora"), "doctor", ...args], {
    cwd: home,
    env: { PATH: "/usr/bin:/bin", HOME: home, ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { status, stdout, stderr };
}

test.each(["cpu", "0"])("the compiled binary computes right with nothing beside it: --device %s", async (device) => {
  const { status, stdout, stderr } = await doctor(["--json", "--device", device]);
  expect([status, stderr]).toEqual([0, ""]);
  expect(JSON.parse(stdout)).toMatchObject({ matmul: { correct: true }, temp_folder: { executable: true } });
});

test("--verify: every check is right, with bits that are known, and the report file is what --json prints", async () => {
  const { status, stdout, stderr } = await doctor([
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
  expect(JSON.parse(await readFile(join(home, "report.json"), "utf8"))).toEqual(report);
  for (const secret of [folder, tmpdir()]) expect(stdout).not.toContain(secret);
}, 180_000);

test("--verify that is told to stop ends with its processes, and leaves no file", async () => {
  const before = await readdir(home);
  const command = [join(folder, "randlora"), "doctor", "--verify", "--device", "cpu", "--out", "stopped.json"];
  const env = { PATH: "/usr/bin:/bin", HOME: home, NO_COLOR: "1" };
  const typist = new Typist(command, { columns: 120, rows: 20, cwd: home, env });
  try {
    await typist.until(" checks");
    typist.signal("SIGINT");
    expect(await typist.exited).toBe(130);
    expect(typist.transcript).not.toContain("error");
  } finally {
    await typist.end();
  }
  expect(await readdir(home)).toEqual(before);
  if (process.platform !== "linux") return;
  const left = [...new Bun.Glob("[0-9]*/cmdline").scanSync({ cwd: "/proc", onlyFiles: false })].map((path) =>
    readFile(join("/proc", path), "utf8").catch(() => ""),
  );
  expect((await Promise.all(left)).filter((line) => line.includes("stopped.json"))).toEqual([]);
});

test("the library is unpacked into BUN_TMPDIR, and nowhere else", async () => {
  const elsewhere = join(folder, "elsewhere");
  await mkdir(elsewhere);
  const { status, stdout } = await doctor(["--json"], { BUN_TMPDIR: elsewhere });
  expect(status).toBe(0);
  expect(JSON.parse(stdout).temp_folder).toMatchObject({ path: elsewhere, set_by: "BUN_TMPDIR" });
  expect((await readdir(elsewhere)).every((name) => name.endsWith(".node"))).toBe(true);
});

test("a temp folder mounted noexec is explained, with the way out", async () => {
  await using mount = await mountNoexec();
  if (mount === undefined) return; // neither the right to mount one nor one that is there: nothing to see
  for (const name of ["TMPDIR", "BUN_TMPDIR"]) {
    const { status, stdout, stderr } = await doctor(["--device", "software"], { [name]: mount.path });
    expect(status).toBe(1);
    expect(stdout).toMatch(/GPUs +not known\n/);
    expect(stdout).toContain("mounted noexec");
    expect(stderr).toContain("error: cannot load the GPU library: ");
    expect(stderr).toContain(`hint: it is unpacked into ${mount.path}, which must be writable and not mounted noexec`);
  }
  const { status } = await doctor(["--device", "software"], { TMPDIR: mount.path, BUN_TMPDIR: folder });
  expect(status).toBe(0);
  // The CPU device needs no library.
  const { status: own, stderr } = await doctor([], { BUN_TMPDIR: mount.path });
  expect([own, stderr]).toEqual([0, expect.stringMatching(/^warning: cannot load the GPU library/)]);
});
