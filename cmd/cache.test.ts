import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { resolveModel } from "../src/files/hub/resolve.ts";
import { Fixture, MODEL_FILES, NEEDED } from "../src/files/hub/testing/fixture.ts";
import { commitOf } from "../src/files/hub/testing/content.ts";
import { join } from "node:path";
import { randlora } from "./testing/program.ts";

const CHANGED = { ...MODEL_FILES, "config.json": "{}" };
const COMMIT = commitOf("org/model", MODEL_FILES);
const OTHER = commitOf("org/model", CHANGED);
const NAME = { repo: "org/model", revision: "main" };

const cache = (fixture: Fixture, ...args: readonly string[]) => run(fixture, "cache", ...args);

async function run(fixture: Fixture, ...args: readonly string[]) {
  return await randlora(args, { env: { HF_HUB_CACHE: fixture.cacheDir, HF_ENDPOINT: fixture.hub.url } });
}

test("list shows what is cached, as a table and as JSON", async () => {
  await using fixture = await Fixture.start();
  expect((await cache(fixture, "list")).stdout).toBe(`nothing in ${fixture.cacheDir}\n`);
  const path = await resolveModel(NAME, { settings: fixture.settings() });
  const { stdout, stderr, status } = await cache(fixture, "list");
  expect(stdout).toContain("org/model");
  expect(stdout).toContain("320 kB");
  expect(stdout).toContain(`main ${COMMIT.slice(0, 7)}`);
  expect(stderr).toBe("");
  expect(status).toBe(0);
  expect(JSON.parse((await cache(fixture, "list", "--json")).stdout)).toMatchObject({
    cache: fixture.cacheDir,
    bytes: 320_062,
    repositories: [
      {
        name: "org/model",
        bytes: 320_062,
        incomplete_bytes: 0,
        last_used: expect.stringMatching(/^20\d\d-/),
        revisions: [{ commit: COMMIT, refs: ["main"], path, files: 6, bytes: 320_062 }],
      },
    ],
  });
});

test("pull fetches a model or an adapter, list and rm are those of the group", async () => {
  await using fixture = await Fixture.start({
    "org/peft": {
      revisions: { main: { "adapter_config.json": "{}", "adapter_model.safetensors": "x", "README.md": "y" } },
    },
  });
  for (const [name, files] of [
    ["org/model", NEEDED],
    ["org/peft@main", ["adapter_config.json", "adapter_model.safetensors"]],
  ] as const) {
    const { stdout, status } = await run(fixture, "pull", name, "--json");
    expect([status, JSON.parse(stdout).name]).toEqual([0, name]);
    expect((await readdir(JSON.parse(stdout).path)).toSorted()).toEqual([...files]);
    expect((await run(fixture, "pull", name)).stdout).toBe(`${JSON.parse(stdout).path}\n`);
  }
  expect(await run(fixture, "list", "--json")).toEqual(await cache(fixture, "list", "--json"));
  expect(await run(fixture, "rm", "org/peft")).toMatchObject({
    status: 0,
    stdout: "removed org/peft (1 revision), 3 B freed\n",
  });
  expect((await run(fixture, "rm", "org/peft")).stderr).toContain("org/peft is not in the cache");
  expect((await run(fixture, "rm", "embedded")).stderr).toContain("embedded is the model inside the program");
  expect((await run(fixture, "rm", import.meta.dir)).stderr).toMatch(/is on this disk, not in the cache .*\n.*runs rm/);
  expect(await run(fixture, "pull", "model")).toMatchObject({ status: 2, stdout: "" });
  expect((await run(fixture, "pull", "org/none")).status).toBe(1);
});

test("remove tells what it freed: one revision, then all", async () => {
  await using fixture = await Fixture.start();
  fixture.hub.repositories.set("org/model", { revisions: { main: MODEL_FILES, v2: CHANGED } });
  const settings = fixture.settings();
  const path = await resolveModel(NAME, { settings });
  await resolveModel({ ...NAME, revision: "v2" }, { settings });
  expect((await cache(fixture, "remove", "org/model@v2")).stdout).toBe(
    `removed org/model@v2 (commit ${OTHER.slice(0, 7)}; other revisions stay), 2 B freed\n`,
  );
  expect(existsSync(join(path, "config.json"))).toBe(true);
  const { stdout } = await cache(fixture, "remove", "org/model", "--json");
  expect(JSON.parse(stdout)).toEqual({ name: "org/model", commits: [COMMIT], bytes: 320_062, whole: true });
  expect(fixture.list()).toEqual(["CACHEDIR.TAG"]);
});

test("an unknown name is an error that names the nearest", async () => {
  await using fixture = await Fixture.start();
  await resolveModel(NAME, { settings: fixture.settings(), weights: false });
  const near = await cache(fixture, "remove", "org/modle@main");
  expect(near.status).toBe(1);
  expect(near.stdout).toBe("");
  expect(near.stderr).toBe(
    `error: org/modle@main is not in the cache (${fixture.cacheDir})\nhint: did you mean org/model?\n`,
  );
  expect((await cache(fixture, "remove", "Model")).stderr).toContain("did you mean org/model?");
  expect((await cache(fixture, "remove", "somebody/else")).stderr).toContain("`randlora list` shows what is there");
  const revision = await cache(fixture, "remove", "org/model@v7");
  expect(revision.stderr).toContain(`hint: cached revisions of org/model: main, ${COMMIT.slice(0, 7)}`);
  expect(fixture.list("models--org--model", "snapshots")).toEqual([COMMIT]);
});
