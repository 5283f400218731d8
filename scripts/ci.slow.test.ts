import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmod, copyFile, mkdir, mkdtemp, readdir, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const RUN = join(import.meta.dir, "..", ".ci", "run");

let folder: string;
beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "randlora-ci-")));
});
afterAll(() => rm(folder, { recursive: true }));

/** What takes the place of the suites: shell commands. */
interface Suites {
  readonly unit?: string;
  readonly slow?: string;
  readonly interop?: string;
  readonly second?: string;
  readonly compiler?: string;
  readonly gpu?: string;
}
const GOOD = "printf ' 12 pass\\n 0 fail\\n 30 expect() calls\\n'";

/** A checkout with our `.ci/run` and a file, in a folder with an npm that runs these suites, a HOME and an empty `tmp`. */
async function checkout(
  { unit = GOOD, slow = GOOD, interop = GOOD, gpu = GOOD, second = GOOD, compiler = GOOD }: Suites,
  git = true,
): Promise<string> {
  const place = await mkdtemp(join(folder, "place-"));
  const root = join(place, "checkout");
  for (const path of ["checkout/.ci", "home", "path", "tmp"]) await mkdir(join(place, path), { recursive: true });
  const cases = [
    `test) ${unit} ;;`,
    `test:slow) ${slow} ;;`,
    `test:interop) ${interop} ;;`,
    `test:gpu) ${gpu} ;;`,
    `test:second-driver) ${second} ;;`,
    `test:second-compiler) ${compiler} ;;`,
  ];
  await Bun.write(join(place, "path", "npm"), ["#!/bin/sh", 'case "$2" in', ...cases, "esac"].join("\n"));
  await chmod(join(place, "path", "npm"), 0o755);
  await Bun.write(join(place, "home", ".profile"), "");
  await Bun.write(join(root, "file"), "");
  await copyFile(RUN, join(root, ".ci", "run"));
  const identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"];
  for (const args of git
    ? [
        ["init", "-q"],
        ["add", "."],
        [...identity, "commit", "-q", "-m", "all"],
      ]
    : []) {
    expect(Bun.spawnSync(["git", ...args], { cwd: root }).exitCode).toBe(0);
  }
  return root;
}

function start(root: string) {
  const place = dirname(root);
  const paths = { TMPDIR: join(place, "tmp"), HOME: join(place, "home") };
  const env = { ...process.env, ...paths, PATH: `${join(place, "path")}:${process.env["PATH"]}` };
  return Bun.spawn(["bash", join(root, ".ci", "run")], {
    env,
    cwd: "/",
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
}

/** Runs it: exit status, output, and what is left in the temporary folder. */
async function outcome(root: string) {
  const child = start(root);
  const [out, notes, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { status, out, notes, left: await readdir(join(dirname(root), "tmp")) };
}

describe(".ci/run", () => {
  test.each<[string, Suites, string, number]>([
    ["sums the suites", { interop: "printf ' 5 pass\\n 0 fail\\n'" }, "65 passed, 0 failed, 0 skipped", 0],
    [
      "counts failures and errors",
      { unit: "printf ' \\033[32m9 pass\\033[0m\\n 2 fail\\n 1 error\\n'; exit 1" },
      "69 passed, 3 failed, 0 skipped",
      1,
    ],
    ["takes a crash for a failure", { unit: "echo '(pass) one'; exit 139" }, "60 passed, 1 failed, 0 skipped", 1],
    [
      "takes an empty suite for a failure",
      { interop: "true", gpu: "true", second: "true" },
      "36 passed, 3 failed, 0 skipped",
      1,
    ],
    [
      "goes on after a failed set-up",
      { unit: "exit 1", slow: "exit 1", interop: "exit 1", gpu: "exit 1", second: "exit 1", compiler: "exit 1" },
      "0 passed, 6 failed, 0 skipped",
      1,
    ],
  ])("%s", async (_, suites, line, status) => {
    const found = await outcome(await checkout(suites));
    expect([found.out.trimEnd().split("\n").at(-1), found.status, found.left]).toEqual([line, status, []]);
  });

  test("fails on a skipped test that no list names", async () => {
    const skipping = `printf 'src/a.test.ts:\\n(skip) this Mac says\\n(skip) a part > another\\n 12 pass\\n 2 skip\\n 0 fail\\n'`;
    const root = await checkout({ slow: skipping }, false);
    const list = (...lines: string[]) => Bun.write(join(root, ".ci", "skips"), lines.join("\n"));
    await list("src/a.test.ts: this Mac says   # needs macOS");
    const found = await outcome(root);
    expect(found.out).toEndWith(
      "npm run test:slow skipped tests that .ci/skips does not name:\nsrc/a.test.ts: a part > another\n72 passed, 1 failed, 2 skipped\n",
    );
    expect(found.status).toBe(1);
    await list("src/a.test.ts: this Mac says", "src/a.test.ts: a part > another   # needs time");
    expect(await outcome(root)).toMatchObject({
      status: 0,
      out: expect.stringMatching(/\n72 passed, 0 failed, 2 skipped\n$/),
    });
  });

  test("runs in a clone that stands alone, with an empty HOME", async () => {
    const look = `pwd && ls -A && echo beside: && ls -A .. && echo home: && ls -A "$HOME" && touch new && ${GOOD}`;
    const root = await checkout({ unit: look, interop: `test -e new && ${GOOD}` });
    await Bun.write(join(root, "uncommitted"), "");
    const { status, out, notes } = await outcome(root);
    const seen = /^.*\/randlora für sich\.\w+\/clone\/randlora\n\.ci\n\.git\nfile\nbeside:\nrandlora\nhome:\n\.cache\n/;
    expect(out).toMatch(seen);
    expect([status, notes]).toEqual([0, "note: what is not committed is not tested\n"]);
    expect(await readdir(root)).not.toContain("new");
  });

  test("takes the files as they are where there is no git", async () => {
    const root = await checkout({ unit: `ls -A && ${GOOD}` }, false);
    await Bun.write(join(root, "node_modules", "installed"), "");
    const { status, out } = await outcome(root);
    expect(out).toStartWith(".ci\nfile\n 12 pass\n");
    expect(status).toBe(0);
  });

  test("ends what it started and leaves nothing when it is told to stop", async () => {
    const root = await checkout({ unit: `echo "pid $$"; sleep 300; ${GOOD}` });
    const child = start(root);
    let out = "";
    for await (const bytes of child.stdout) {
      out += new TextDecoder().decode(bytes);
      const pid = Number(/^pid (\d+)$/m.exec(out)?.[1]);
      if (!(pid > 0)) continue;
      child.kill("SIGTERM");
      expect(await child.exited).toBe(143);
      expect(() => process.kill(pid, 0)).toThrow("ESRCH");
      break;
    }
    expect(child.exitCode).toBe(143);
    expect(await readdir(join(dirname(root), "tmp"))).toEqual([]);
  });
});
