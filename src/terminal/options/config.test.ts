import { describe, expect, test } from "bun:test";
import { chown, lchown, mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configValues } from "./config.ts";
import { sample as program } from "./testing/sample.ts";
import { cleanEnvironment, sample, SAMPLE } from "./testing/spawn.ts";

function values(document: unknown, path = ["mix"]) {
  const source = typeof document === "string" ? document : JSON.stringify(document);
  return Object.fromEntries(configValues(program, path, "r.yaml", source));
}

describe("a configuration file", () => {
  test("speaks to every command that knows the key, in both spellings", () => {
    const document = {
      dtype: "f32",
      max_shard_size: 9,
      "no-special": true,
      pause: 3,
      scale: [1, 0.5],
      betas: [0.9, 0.95],
    };
    expect(values(document)).toMatchObject({
      dtype: ["f32"],
      "max-shard-size": ["9"],
      "no-special": ["true"],
      scale: ["1", "0.5"],
    });
    expect(values(document, ["show", "work"])).toMatchObject({ pause: ["3"] });
  });

  test("lets a command's own section overrule the top, wherever it stands", () => {
    expect(values({ mix: { dtype: "bf16" }, dtype: "f32" })).toEqual({ dtype: ["bf16"] });
    expect(values({ mix: { dtype: "bf16" }, dtype: "f32" }, ["fail"])).toEqual({ dtype: ["f32"] });
    expect(values({ show: { work: { pause: 1 }, json: true } }, ["show", "work"])).toEqual({
      pause: ["1"],
      json: ["true"],
    });
  });

  test("may be empty, and may leave values out", () => {
    expect(values(null)).toEqual({});
    expect(values({ dtype: null })).toEqual({});
  });

  test("is not looked into where it speaks to other commands", () => {
    const document = { mix: { dtpye: "f32", pause: 1 }, show: { wrok: 3 }, dtype: "f32" };
    expect(values(document, ["fail"])).toEqual({ dtype: ["f32"] });
    expect(values({ show: { work: { pause: 1 }, json: true } })).toEqual({});
  });

  const manyTimes = `stop: [&a ${"x".repeat(20_000)}, ${"*a, ".repeat(60)}]`;
  const refused: readonly [document: unknown, message: string, hint: string, path?: string[]][] = [
    [{ dtpye: "f32" }, "r.yaml: dtpye: no such option", "did you mean dtype?"],
    [{ mix: { pause: 1 } }, "r.yaml: mix: pause: no such option", ""],
    [{ show: { wrok: { pause: 1 } } }, "r.yaml: show: wrok: no such option", "did you mean work?", ["show", "work"]],
    [{ config: "other.yaml" }, "r.yaml: config: no such option", ""],
    [{ gait: "x" }, "r.yaml: gait: it means different", "put it under the name of a command: walk: { gait: … }"],
    [["dtype"], "r.yaml: not a mapping", ""],
    ["kwargs: { itself: &a [*a] }", "r.yaml: kwargs: too large", ""],
    [manyTimes, "r.yaml: stop: too large", ""],
  ];
  test.each(refused.map((one) => [one[1], one] as const))("is refused: %s", (_, [document, message, hint, path]) => {
    const refusal = expect(() => values(document, path));
    refusal.toThrow(expect.objectContaining({ code: "usage", message: expect.stringContaining(message) }));
    if (hint !== "") refusal.toThrow(expect.objectContaining({ hint }));
  });
});

async function withFile(yaml: string, act: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "randlora-config-"));
  try {
    await writeFile(join(folder, "randlora.yaml"), yaml);
    await act(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function run(cwd: string, args: string[] = [], env: Record<string, string> = {}): Promise<unknown> {
  const outcome = await sample(["mix", "a", "b", "--json", ...args], { cwd, env });
  expect(outcome.stderr.replace(/^randlora.yaml in this folder sets .*\n/, "")).toBe("");
  return JSON.parse(outcome.stdout);
}

describe("default < file < environment < flag", () => {
  test("for values, flags, lists and mappings", async () => {
    await withFile(
      "dtype: f32\nno-special: true\nscale: [1, 2]\nbetas: [0.5, 0.6]\nkwargs: {a: [1]}\ngpu: software\n",
      async (folder) => {
        expect(await run(folder)).toMatchObject({
          dtype: "f32",
          noSpecial: true,
          scale: [1, 2],
          betas: [0.5, 0.6],
          kwargs: { a: [1] },
          device: "software",
          maxShardSize: 5,
        });
        const env = {
          RANDLORA_DTYPE: "bf16",
          RANDLORA_NO_SPECIAL: "0",
          RANDLORA_SCALE: "[3, 4]",
          RANDLORA_DEVICE: "",
          RANDLORA_GPU: "",
        };
        expect(await run(folder, [], env)).toMatchObject({
          dtype: "bf16",
          noSpecial: false,
          scale: [3, 4],
          device: "software",
        });
        const flags = ["--dtype", "keep", "--no-special", "--scale", "5", "--device", "1"];
        expect(await run(folder, flags, env)).toMatchObject({
          dtype: "keep",
          noSpecial: true,
          scale: [5],
          device: "1",
        });
      },
    );
  });

  test("--gpu, RANDLORA_GPU and gpu are --device, in every place", async () => {
    await withFile("gpu: one\n", async (folder) => {
      expect(await run(folder)).toMatchObject({ device: "one" });
      expect(await run(folder, [], { RANDLORA_GPU: "two" })).toMatchObject({ device: "two" });
      expect(await run(folder, [], { RANDLORA_GPU: "two", RANDLORA_DEVICE: "three" })).toMatchObject({
        device: "three",
      });
      const given = await run(folder, ["--gpu", "four", "--threads", "3"], { RANDLORA_DEVICE: "three" });
      expect(given).toMatchObject({ device: "four", threads: 3 });
    });
  });

  test("a wrong value is blamed on the place that it came from", async () => {
    await withFile("dtype: f8\n", async (folder) => {
      const fromFile = await sample(["mix", "a", "b"], { cwd: folder });
      expect(fromFile).toMatchObject({ status: 2, stdout: "" });
      expect(fromFile.stderr).toStartWith('error: randlora.yaml: dtype: "f8" is not one of keep, f32, bf16\n');
      const fromVariable = await sample(["mix", "a", "b"], { cwd: folder, env: { RANDLORA_DTYPE: "f16" } });
      expect(fromVariable.stderr).toStartWith('error: RANDLORA_DTYPE: "f16" is not one of');
      const fromFlag = await sample(["mix", "a", "b", "--dtype", "f4"], {
        cwd: folder,
        env: { RANDLORA_DTYPE: "f16" },
      });
      expect(fromFlag.stderr).toStartWith('error: --dtype: "f4" is not one of');
    });
  });

  test("every scalar is the text that was written, as on the command line", async () => {
    const written =
      "prompt: 012 # and so on\nstop: [7, 'x', \"012\", 1.0, True, 1e3, 12345678901234567890]\nscale: 1.0\n";
    await withFile(
      `${written}gpu: 1\nkwargs: {a: [false, '1', 012, null]}\nforce:\nno_special: True\n`,
      async (folder) => {
        expect(await run(folder)).toMatchObject({
          prompt: "012",
          stop: ["7", "x", "012", "1.0", "True", "1e3", "12345678901234567890"],
          scale: [1],
          device: "1",
          kwargs: { a: [false, "1", 12, null] },
          noSpecial: true,
        });
      },
    );
    await withFile("max_shard_size: 0x10\n", async (folder) => {
      const { status, stderr } = await sample(["mix", "a", "b"], { cwd: folder });
      expect([status, stderr]).toEqual([2, expect.stringContaining('max-shard-size: "0x10" is not a number')]);
    });
  });

  test("a comment, or a key of another command, is no other spelling of a value", async () => {
    await withFile("# prompt: 12, 012\nprompt: 12 # not prompt: 012\n", async (folder) => {
      expect(await run(folder)).toMatchObject({ prompt: "12" });
    });
  });

  test("--config names another file, which must exist and be YAML", async () => {
    await withFile("a: [1\n", async (folder) => {
      const broken = await sample(["mix", "a", "b"], { cwd: folder });
      expect([broken.status, broken.stderr]).toEqual([
        1,
        expect.stringContaining("error: randlora.yaml: not valid YAML"),
      ]);
      await writeFile(join(folder, "good.yaml"), "dtype: bf16");
      expect(await run(folder, ["--config", "good.yaml"])).toMatchObject({ dtype: "bf16" });
      const missing = await sample(["mix", "a", "b", "--config", "none.yaml"], { cwd: folder });
      expect([missing.status, missing.stderr]).toEqual([
        1,
        expect.stringContaining("error: none.yaml: cannot be read"),
      ]);
    });
  });

  test("a misspelt variable is pointed out, a foreign one is not", async () => {
    const env = { RANDLORA_DTPYE: "f32", RANDLORA_LICENSE_SERVER: "x" };
    const { status, stderr } = await sample(["mix", "a", "b", "--quiet"], { env });
    expect([status, stderr]).toEqual([
      0,
      "warning: RANDLORA_DTPYE is no option of any command; did you mean RANDLORA_DTYPE?\n",
    ]);
  });
});

describe("what an option's rivals say", () => {
  async function walk(folder: string, args: readonly string[], env: Record<string, string> = {}) {
    const { status, stdout, stderr } = await sample(["walk", "--json", ...args], { cwd: folder, env });
    return { status, stderr, said: stdout === "" ? undefined : JSON.parse(stdout) };
  }

  test("the weaker place gives way, and that is said", async () => {
    await withFile("", async (folder) => {
      const env = await withOwn(folder, "miles: 3\n");
      expect(await walk(folder, ["--steps", "10"], env)).toEqual({
        status: 0,
        said: { steps: 10 },
        stderr: `${join(folder, "xdg", "randlora", "randlora.yaml")}: miles is ignored: --steps was given\n`,
      });
      expect(await walk(folder, ["-q"], { ...env, RANDLORA_STEPS: "4" })).toEqual({
        status: 0,
        said: { steps: 4 },
        stderr: "",
      });
      expect((await walk(folder, ["--miles", "1"], { ...env, RANDLORA_STEPS: "4" })).said).toEqual({ miles: 1 });
      // Both were typed.
      const typed = await walk(folder, ["--miles", "1", "--steps", "2"], env);
      expect(typed).toMatchObject({ status: 2, stderr: expect.stringContaining("hint: leave one out") });
    });
  });

  test("an argument is stronger than any file", async () => {
    await withFile("walk: {gait: swim}\n", async (folder) => {
      const set = "randlora.yaml in this folder sets --gait swim\n";
      expect(await walk(folder, ["sea"])).toMatchObject({ said: { gait: "swim" }, stderr: set });
      const note = "randlora.yaml: gait is ignored: --gait swim: there is no water\n";
      expect(await walk(folder, ["hill"])).toMatchObject({ said: { where: "hill" }, stderr: set + note });
    });
  });

  test("no hint tells anybody to leave out what nobody typed", async () => {
    await withFile("walk: {steps: 1, miles: 2}\n", async (folder) => {
      const { status, stderr } = await walk(folder, []);
      expect([status, stderr]).toEqual([
        2,
        expect.stringContaining("hint: it comes from randlora.yaml: steps and randlora.yaml: miles: change that"),
      ]);
    });
    await withFile("", async (folder) => {
      const { stderr } = await walk(folder, [], { RANDLORA_GAIT: "fly" });
      expect(stderr).toContain("hint: it comes from RANDLORA_GAIT: change that, or overrule it on the command line\n");
    });
  });
});

describe("an empty value is refused", () => {
  test.each([
    [["--resume", ""], "--resume is empty"],
    [["--resume="], "--resume is empty"],
    [["--prompt", ""], "--prompt is empty"],
    [["--stop", "a", "--stop", ""], "--stop is empty"],
    [["--dtype", ""], "--dtype is empty"],
    [["--device", ""], "--device is empty"],
    [["--config", ""], "--config is empty"],
  ])("%p", async (args, message) => {
    const { status, stdout, stderr } = await sample(["mix", "a", "b", ...args]);
    expect([status, stdout]).toEqual([2, ""]);
    expect(stderr).toBe(`error: ${message}\nhint: is a variable of the shell not set?\n`);
  });

  test("in a file and in a list of the environment as well", async () => {
    await withFile("prompt: ''\n", async (folder) => {
      const { status, stderr } = await sample(["mix", "a", "b"], { cwd: folder });
      expect([status, stderr]).toEqual([2, expect.stringContaining("error: randlora.yaml: prompt is empty\n")]);
      expect(stderr).toContain("hint: remove it, or give it a value\n");
    });
    await withFile("mix: { stop: [] }\n", async (folder) => {
      const { status, stderr } = await sample(["mix", "a", "b"], { cwd: folder });
      expect([status, stderr]).toEqual([0, ""]);
    });
    const { stderr } = await sample(["mix", "a", "b"], { env: { RANDLORA_STOP: '["a", ""]' } });
    expect(stderr).toContain("error: RANDLORA_STOP is empty\n");
  });

  test("an option that may stand alone is no empty one", async () => {
    await withFile("", async (folder) => {
      expect(await run(folder, ["--resume"])).toMatchObject({ resume: true });
      expect(await run(folder, ["--resume", "r"])).toMatchObject({ resume: "r" });
    });
  });
});

/** The folder as the home of a user whose own configuration is `yaml`. */
async function withOwn(folder: string, yaml: string): Promise<Record<string, string>> {
  await mkdir(join(folder, "xdg", "randlora"), { recursive: true });
  await writeFile(join(folder, "xdg", "randlora", "randlora.yaml"), yaml);
  return { XDG_CONFIG_HOME: join(folder, "xdg") };
}

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
        expect(spared.status).toBe(1);
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
      expect([long.status, long.stderr]).toEqual([1, expect.stringContaining("long.yaml: longer than 65536 bytes\n")]);
    });
  });
});
