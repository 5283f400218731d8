import { describe, expect, test } from "bun:test";
import { copyFile, cp, mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { ADAPTER, baseAndAdapter, contents, Q_NAME, runMerge, TENSORS } from "./testing/merge.ts";
import { readModel } from "../src/adapters/merge/testing/models.ts";
import { writeLora } from "../src/adapters/testing/lora.ts";

/** What docs/interface/commands.md promises for `--json`, by name and type; whatever else is there is extra. */
const SHAPE = {
  out: expect.any(String),
  tensors: expect.any(Number),
  merged: expect.any(Number),
  bytes: expect.any(Number),
  generator: expect.any(String),
  seconds: expect.objectContaining({ total: expect.any(Number), merge: expect.any(Number) }),
  peak_rss_bytes: expect.any(Number),
  max_abs_delta: expect.any(Number),
};

describe("randlora merge", () => {
  test("writes the model and shows a table", async () => {
    await using folder = await baseAndAdapter();
    const { status, stdout, stderr } = await runMerge(["base", "adapter", "--verify"], { cwd: folder.path });
    expect(status).toBe(0);
    for (const part of [folder.at("base-merged"), "2 of 4", "torch-mt19937-ternary", "Frobenius", "peak memory"]) {
      expect(stdout).toContain(part);
    }
    expect(stdout).toMatch(/verified .* at most 0\.\d+ units in the last place off/);
    // Progress of a merge that takes longer than a second.
    expect(stderr).toMatch(/^(merging: .*\n)*$/);
    expect((await readdir(folder.path)).toSorted()).toEqual(["adapter", "base", "base-merged"]);
    expect(Object.keys(await readModel(folder.at("base-merged")))).toEqual(Object.keys(TENSORS));
  });

  test("prints exactly one JSON object with --json", async () => {
    await using folder = await baseAndAdapter();
    const args = ["base", "adapter", "--out", "out", "--json", "--verify"];
    const { status, stdout } = await runMerge(args, { cwd: folder.path });
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      ...SHAPE,
      out: folder.at("out"),
      tensors: 4,
      merged: 2,
      generator: "torch-mt19937-ternary",
      max_error_ulp: expect.any(Number),
    });
    const { seconds }: { seconds: Record<string, number> } = JSON.parse(stdout);
    const { total = 0, ...stages } = seconds;
    expect(Object.keys(stages)).toContain("verify");
    expect(Object.values(stages).reduce((sum, seconds) => sum + seconds, 0)).toBeWithin(total * 0.9, total * 1.001);

    const plain = await runMerge(["base", "adapter", "--out", "plain", "--json"], { cwd: folder.path });
    expect(JSON.parse(plain.stdout)).not.toHaveProperty("max_error_ulp");
  });

  test("of a dry run shows the plan and writes nothing", async () => {
    await using folder = await baseAndAdapter();
    const before = await contents(folder.path);
    const { status, stdout } = await runMerge(["base", "adapter", "--dry-run"], { cwd: folder.path });
    expect([status, stdout]).toEqual([0, expect.stringMatching(/would write +\S+base-merged/)]);
    const json = await runMerge(["base", "adapter", "--dry-run", "--json"], { cwd: folder.path });
    await writeLora(folder.at("lora"), { r: 2, alpha: 4, seed: 1, modules: ADAPTER.modules });
    const bases = async (...adapters: string[]) => {
      const { stdout } = await runMerge(["base", ...adapters, "--dry-run", "--out", "x"], { cwd: folder.path });
      return /^bases +(.*)$/m.exec(stdout)?.[1];
    };
    expect([await bases("lora", "adapter"), await bases("lora")]).toEqual(["torch-mt19937-ternary", undefined]);
    await rm(folder.at("lora"), { recursive: true });
    expect(JSON.parse(json.stdout)).toMatchObject({ out: folder.at("base-merged"), tensors: 4, merged: 2 });
    expect(await contents(folder.path)).toEqual(before);
  });

  test("names its output after the base, and -unmerged for an unmerge", async () => {
    await using folder = await baseAndAdapter();
    await copyFile(folder.at("base/model.safetensors"), folder.at("x.safetensors"));
    const run = async (...args: string[]) => (await runMerge(args, { cwd: folder.path })).status;
    expect(await run("x.safetensors", "adapter")).toBe(0);
    expect(await run("x.safetensors", "adapter", "--unmerge", "--dtype", "f32")).toBe(0);
    expect(await run("base/", "adapter", "--unmerge")).toBe(0);
    expect((await readdir(folder.path)).toSorted()).toEqual([
      "adapter",
      "base",
      "base-unmerged",
      "x-merged.safetensors",
      "x-unmerged.safetensors",
      "x.safetensors",
    ]);
  });

  test("takes a full fine-tuning run for its model", async () => {
    await using folder = await baseAndAdapter();
    await mkdir(folder.at("run"));
    await writeFile(folder.at("run/run.json"), "{}");
    await cp(folder.at("base"), folder.at("run/model"), { recursive: true });
    expect((await runMerge(["run", "adapter"], { cwd: folder.path })).status).toBe(0);
    expect((await readdir(folder.at("run-merged"))).toSorted()).toEqual(["config.json", "model.safetensors"]);
  });

  test("takes a run for its base and its adapter, and further adapters on top", async () => {
    await using folder = await baseAndAdapter();
    await mkdir(folder.at("runs/mine"), { recursive: true });
    await writeFile(folder.at("runs/mine/run.json"), JSON.stringify({ model: folder.at("base") }));
    await cp(folder.at("adapter"), folder.at("runs/mine/best"), { recursive: true });
    const run = (...args: string[]) => runMerge(args, { cwd: folder.path });
    const { status, stdout } = await run("runs/mine");
    expect([status, stdout]).toEqual([0, expect.stringContaining(folder.at("mine-merged"))]);
    await run("base", "adapter");
    expect(await readModel(folder.at("mine-merged"))).toEqual(await readModel(folder.at("base-merged")));
    expect((await run("runs/mine", "adapter", "--out", "two")).stderr).toContain("are the same adapter");
    await cp(folder.at("adapter"), folder.at("other"), { recursive: true });
    const config = await Bun.file(folder.at("other/adapter_config.json")).json();
    await Bun.write(folder.at("other/adapter_config.json"), JSON.stringify({ ...config, unknown: 1 }));
    await run("runs/mine", "other", "--out", "two");
    await run("base", "adapter", "--scale", "2", "--dtype", "f32", "--out", "twice");
    expect(Object.keys(await readModel(folder.at("two")))).toEqual(Object.keys(await readModel(folder.at("twice"))));
    expect((await run("runs/mine", "runs/mine")).stderr).toContain("the adapter is given twice");
    expect((await run("runs/min")).stderr).toContain("hint: did you mean runs/mine?");
    expect((await run("runs/mine", "embedded")).stderr).toContain("embedded: a model, not an adapter");
  });

  test("says what is missing, and what is the wrong way round", async () => {
    await using folder = await baseAndAdapter();
    await mkdir(folder.at("run"));
    await writeFile(folder.at("run/run.json"), "{}");
    await cp(folder.at("base"), folder.at("run/model"), { recursive: true });
    const order = "hint: the model comes first, adapters after it: randlora merge BASE ADAPTER\n";
    for (const [args, says] of [
      [["base"], "error: base: nothing to merge: ADAPTER is missing\n"],
      [["embedded"], "error: embedded: nothing to merge: ADAPTER is missing\n"],
      [["elsewhere"], "error: cannot read elsewhere: no such file or folder\n"],
      [["run"], "error: run: a run of --method full has no adapter\n"],
      [["adapter", "base"], `error: adapter: an adapter, not a model\n${order}`],
      [["adapter/adapter_config.json", "base"], "adapter_config.json: an adapter, not a model\n"],
      [["base", "base"], `error: base: a model, not an adapter: no adapter_config.json\n${order}`],
    ] as const) {
      const { status, stderr } = await runMerge(args, { cwd: folder.path });
      expect(status).not.toBe(0);
      expect(stderr).toContain(says);
    }
    expect((await readdir(folder.path)).toSorted()).toEqual(["adapter", "base", "run"]);
  });

  test("says that an unmerge is not exact below f32", async () => {
    await using folder = await baseAndAdapter();
    const { stderr } = await runMerge(["base", "adapter", "--unmerge"], { cwd: folder.path });
    expect(stderr).toContain("exactly only where nothing was rounded");
    const refused = await runMerge(["base", "adapter", "--unmerge", "--out", "base"], { cwd: folder.path });
    expect(refused.stderr).toMatch(/^error: /);
  });

  test("replaces an output with --force only, and as a whole", async () => {
    await using folder = await baseAndAdapter();
    const args = ["base", "adapter", "--out", "out"];
    expect((await runMerge(args, { cwd: folder.path })).status).toBe(0);
    await writeFile(folder.at("out/old.jinja"), "old");
    const old = await contents(folder.at("out"));
    const refused = await runMerge([...args, "--scale", "2"], { cwd: folder.path });
    expect([refused.status, refused.stderr]).toEqual([
      1,
      expect.stringMatching(/^error: .*out: it exists already\nhint: .*--force\n$/),
    ]);
    expect(await contents(folder.at("out"))).toEqual(old);
    // What a process that was killed left behind goes away, too.
    await mkdir(folder.at("out.00000000-999999999-1.part"));
    expect((await runMerge([...args, "--scale", "2", "--force"], { cwd: folder.path })).status).toBe(0);
    const { "old.jinja": _, ...names } = old;
    expect(Object.keys(await contents(folder.at("out")))).toEqual(Object.keys(names));
    expect((await contents(folder.at("out")))["model.safetensors"]).not.toBe(old["model.safetensors"]);
    expect((await readdir(folder.path)).toSorted()).toEqual(["adapter", "base", "out"]);
  });

  test("takes an index.json for the base, and writes into the current folder", async () => {
    await using folder = await baseAndAdapter();
    const shards = { tensors: TENSORS, shardBytes: 1300 };
    await using sharded = await baseAndAdapter(shards, ADAPTER);
    const index = "../base/model.safetensors.index.json";
    await mkdir(sharded.at("elsewhere"));
    const { status, stderr } = await runMerge([index, "../adapter"], { cwd: sharded.at("elsewhere") });
    expect([status, stderr]).toEqual([0, expect.not.stringContaining("warning")]);
    await runMerge(["base", "adapter"], { cwd: folder.path });
    expect(await readModel(sharded.at("elsewhere/base-merged"))).toEqual(await readModel(folder.at("base-merged")));
  });

  test("reads a model and an adapter from the Hub's cache, and writes into the current folder, too", async () => {
    await using folder = await baseAndAdapter();
    const commit = "0123456789abcdef0123456789abcdef01234567";
    for (const [repo, from] of [
      ["models--org--tiny", "base"],
      ["models--org--tuned", "adapter"],
    ] as const) {
      const hub = folder.at("cache", "hub", repo);
      await mkdir(`${hub}/refs`, { recursive: true });
      await writeFile(`${hub}/refs/main`, commit);
      await cp(folder.at(from), `${hub}/blobs`, { recursive: true });
      await mkdir(`${hub}/snapshots/${commit}`, { recursive: true });
      for (const name of await readdir(folder.at(from))) {
        await symlink(`../../blobs/${name}`, `${hub}/snapshots/${commit}/${name}`);
      }
    }
    await mkdir(folder.at("work"));
    const env = { HF_HOME: folder.at("cache"), HF_HUB_OFFLINE: "1" };
    const { status, stderr } = await runMerge(["org/tiny", "org/tuned"], { cwd: folder.at("work"), env });
    expect([status, stderr]).toEqual([0, expect.not.stringContaining("warning")]);
    expect(await readdir(folder.at("work"))).toEqual(["tiny-merged"]);
    const merged = await readModel(folder.at("work/tiny-merged"));
    expect(Object.keys(merged)).toEqual(Object.keys(TENSORS));
    expect(merged[Q_NAME]?.data).not.toEqual(TENSORS[Q_NAME].data);
    expect(await readFile(folder.at("work/tiny-merged/config.json"), "utf8")).toBe('{"model_type":"llama"}');
  });
});
