import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cp, mkdir, mkdtemp, readdir, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const RUN = join(import.meta.dir, "..", ".ci", "run");
const SUITES = ["test", "test:interop", "test:second-driver"] as const;

let folder: string;
beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "randlora-ci-")));
});
afterAll(() => rm(folder, { recursive: true }));

/** A checkout with our `.ci/run` and these suites, in a folder of its own with an empty temporary folder and a HOME beside it. */
async function checkout(name: string, suites: readonly string[], { git = true } = {}): Promise<string> {
  const root = join(folder, name, "checkout");
  await mkdir(join(folder, name, "tmp"), { recursive: true });
  await Bun.write(join(folder, name, "home", "secret"), "");
  await cp(RUN, join(root, ".ci", "run"));
  const scripts = Object.fromEntries(SUITES.map((suite, i) => [suite, suites[i] ?? "echo 1 pass"]));
  await Bun.write(join(root, "package.json"), JSON.stringify({ name: "suites", scripts }));
  if (git) {
    const identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"];
    for (const args of [
      ["init", "-q"],
      ["add", "."],
      [...identity, "commit", "-q", "-m", "all"],
    ]) {
      expect(Bun.spawnSync(["git", ...args], { cwd: root }).exitCode).toBe(0);
    }
  }
  return root;
}

function start(root: string) {
  const place = dirname(root);
  const env = { ...process.env, TMPDIR: join(place, "tmp"), HOME: join(place, "home") };
  return Bun.spawn([join(root, ".ci", "run")], { env, cwd: "/", stdin: "ignore", stdout: "pipe", stderr: "pipe" });
}

async function outcome(root: string): Promise<{ status: number; out: string; left: string[] }> {
  const child = start(root);
  const [out, , status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { status, out, left: await readdir(join(dirname(root), "tmp")) };
}

describe(".ci/run", () => {
  test("sums the suites, in a copy that stands alone, with an empty HOME", async () => {
    const look = 'pwd && ls -A .. && echo "home:" && ls -A "$HOME" && echo " 2 pass" && touch here';
    const root = await checkout("whole", [look, "test ! -e here || echo 3 pass; echo 1 pass"]);
    await Bun.write(join(root, "uncommitted"), "");
    const { status, out, left } = await outcome(root);
    expect(out).toMatch(/\/randlora für sich\.\w+\/clone\/randlora\nrandlora\nhome:\n\.cache\n/);
    expect(out).toEndWith("\n7 passed, 0 failed\n");
    expect([status, left, await readdir(root)]).toEqual([0, [], expect.not.arrayContaining(["here"])]);
  });

  test("fails where a suite fails, breaks off, or runs nothing", async () => {
    const suites = ["echo 5 pass; echo 2 fail; echo 1 error; exit 1", "echo 4 pass; exit 1", "echo 0 pass"];
    const { status, out, left } = await outcome(await checkout("failing", suites));
    expect(out).toEndWith("\n9 passed, 5 failed\n");
    expect([status, left]).toEqual([1, []]);
  });

  test("takes the files as they are where there is no git", async () => {
    const root = await checkout("files", ["ls -A && echo 1 pass"], { git: false });
    await Bun.write(join(root, "node_modules", "installed"), "");
    const { status, out } = await outcome(root);
    expect(out).toContain("\n.ci\npackage.json\n");
    expect(status).toBe(0);
  });

  test("ends what it started and leaves nothing when it is told to stop", async () => {
    const root = await checkout("stopped", ['echo "pid $$"; sleep 300; echo 1 pass']);
    const child = start(root);
    let out = "";
    for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
      out += chunk;
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
