import { describe, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configValues } from "./config.ts";
import { sample as program } from "./testing/sample.ts";
import { sample } from "./testing/spawn.ts";

function values(document: unknown, path = ["mix"]) {
  return Object.fromEntries(configValues(program, path, "r.yaml", document));
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

  test.each([
    [{ dtpye: "f32" }, "r.yaml: dtpye: no such option", "did you mean dtype?"],
    [{ mix: { pause: 1 } }, "r.yaml: mix: pause: no such option", ""],
    [{ show: { wrok: { pause: 1 } } }, "r.yaml: show: wrok: no such option", "did you mean work?"],
    [{ config: "other.yaml" }, "r.yaml: config: no such option", ""],
    [["dtype"], "r.yaml: not a mapping", ""],
  ])("refuses %p", (document, message, hint) => {
    const refusal = expect(() => values(document));
    refusal.toThrow(expect.objectContaining({ code: "usage", message: expect.stringContaining(message) }));
    if (hint !== "") refusal.toThrow(expect.objectContaining({ hint }));
  });
});

describe("default < file < environment < flag", () => {
  async function withFile(yaml: string, act: (folder: string) => Promise<void>): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), "randlora-config-"));
    try {
      await writeFile(join(folder, "randlora.yaml"), yaml);
      await act(folder);
    } finally {
      await rm(folder, { recursive: true });
    }
  }
  const run = async (cwd: string, args: string[] = [], env: Record<string, string> = {}): Promise<unknown> => {
    const outcome = await sample(["mix", "a", "b", "--json", ...args], { cwd, env });
    expect(outcome.stderr).toBe("");
    return JSON.parse(outcome.stdout);
  };

  test("for values, flags, lists and mappings", async () => {
    await withFile(
      "dtype: f32\nforce: true\nscale: [1, 2]\nbetas: [0.5, 0.6]\nkwargs: {a: [1]}\ngpu: software\n",
      async (folder) => {
        expect(await run(folder)).toMatchObject({
          dtype: "f32",
          force: true,
          scale: [1, 2],
          betas: [0.5, 0.6],
          kwargs: { a: [1] },
          gpu: "software",
          maxShardSize: 5,
        });
        const env = { RANDLORA_DTYPE: "bf16", RANDLORA_FORCE: "0", RANDLORA_SCALE: "[3, 4]", RANDLORA_GPU: "" };
        expect(await run(folder, [], env)).toMatchObject({
          dtype: "bf16",
          force: false,
          scale: [3, 4],
          gpu: "software",
        });
        const flags = ["--dtype", "keep", "--force", "--scale", "5", "--gpu", "1"];
        expect(await run(folder, flags, env)).toMatchObject({ dtype: "keep", force: true, scale: [5], gpu: "1" });
      },
    );
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

  test("a text keeps its spelling, or is refused where YAML takes it for a number", async () => {
    const written = "prompt: 12 # and so on\nstop: [7, 'x', \"012\"]\ngpu: 1\nmax_shard_size: 0x10\nscale: 1.0\n";
    await withFile(written, async (folder) => {
      expect(await run(folder)).toMatchObject({ prompt: "12", stop: ["7", "x", "012"], gpu: "1", maxShardSize: 16 });
    });
    for (const scalar of ["012", "1.0", "0x10", "1e3", "12345678901234567890", "True", "[a, 1.0]"]) {
      await withFile(`stop: ${scalar}\nscale: 1\n`, async (folder) => {
        const { status, stdout, stderr } = await sample(["mix", "a", "b"], { cwd: folder });
        expect([status, stdout]).toEqual([2, ""]);
        expect(stderr).toMatch(
          /^error: randlora.yaml: stop: without quotes YAML reads this as .*\nhint: put it in quotes/,
        );
      });
    }
    // What a stronger layer overrules does no harm.
    await withFile("mix:\n  prompt: 012\n", async (folder) => {
      expect((await sample(["mix", "a", "b"], { cwd: folder })).status).toBe(2);
      expect(await run(folder, ["-p", "hello"])).toMatchObject({ prompt: "hello" });
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
