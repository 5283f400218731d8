import { describe, expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run, withFile, withOwn } from "./testing/config-folder.ts";
import { sample } from "./testing/spawn.ts";

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
      const cause = 'error: randlora.yaml: dtype: "f8" is not one of keep, f32, bf16';
      expect(fromFile.stderr).toBe(`${cause}\nhint: number format of the result\n`);
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
        3,
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
