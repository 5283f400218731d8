import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { resolveModel } from "../src/files/hub/resolve.ts";
import { Fixture, MODEL_FILES, NEEDED } from "../src/files/hub/testing/fixture.ts";
import { commitOf } from "../src/files/hub/testing/content.ts";

const CHANGED = { ...MODEL_FILES, "config.json": "{}" };
const COMMIT = commitOf("org/model", MODEL_FILES);
const OTHER = commitOf("org/model", CHANGED);
const NAME = { repo: "org/model", revision: "main" };

const randlora = (fixture: Fixture, ...args: readonly string[]) => run(fixture, "cache", ...args);

async function run(fixture: Fixture, ...args: readonly string[]) {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "main.ts"), ...args], {
    env: { ...process.env, HF_HUB_CACHE: fixture.cacheDir, HF_ENDPOINT: fixture.hub.url, NO_COLOR: "1" },
    stderr: "pipe",
  });
  const [out, err, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { out, err, status };
}

test("list shows what is cached, as a table and as JSON", async () => {
  await using fixture = await Fixture.start();
  expect((await randlora(fixture, "list")).out).toBe(`nothing in ${fixture.cacheDir}\n`);
  const path = await resolveModel(NAME, { settings: fixture.settings() });
  const { out, err, status } = await randlora(fixture, "list");
  expect(out).toContain("org/model");
  expect(out).toContain("320 kB");
  expect(out).toContain(`main ${COMMIT.slice(0, 7)}`);
  expect(err).toBe("");
  expect(status).toBe(0);
  expect(JSON.parse((await randlora(fixture, "list", "--json")).out)).toMatchObject({
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
    const { out, status } = await run(fixture, "pull", name, "--json");
    expect([status, JSON.parse(out).name]).toEqual([0, name]);
    expect((await readdir(JSON.parse(out).path)).toSorted()).toEqual([...files]);
    expect((await run(fixture, "pull", name)).out).toBe(`${JSON.parse(out).path}\n`);
  }
  expect(await run(fixture, "list", "--json")).toEqual(await randlora(fixture, "list", "--json"));
  expect(await run(fixture, "rm", "org/peft")).toMatchObject({
    status: 0,
    out: "removed org/peft (1 revision), 3 B freed\n",
  });
  expect((await run(fixture, "rm", "org/peft")).err).toContain("org/peft is not in the cache");
  expect((await run(fixture, "rm", "embedded")).err).toContain("embedded is the model inside the program");
  expect((await run(fixture, "rm", import.meta.dir)).err).toMatch(/is on this disk, not in the cache .*\n.*runs rm/);
  expect(await run(fixture, "pull", "model")).toMatchObject({ status: 2, out: "" });
  expect((await run(fixture, "pull", "org/none")).status).toBe(1);
});

test("remove tells what it freed: one revision, then all", async () => {
  await using fixture = await Fixture.start();
  fixture.hub.repositories.set("org/model", { revisions: { main: MODEL_FILES, v2: CHANGED } });
  const settings = fixture.settings();
  const path = await resolveModel(NAME, { settings });
  await resolveModel({ ...NAME, revision: "v2" }, { settings });
  expect((await randlora(fixture, "remove", "org/model@v2")).out).toBe(
    `removed org/model@v2 (commit ${OTHER.slice(0, 7)}; other revisions stay), 2 B freed\n`,
  );
  expect(existsSync(join(path, "config.json"))).toBe(true);
  const { out } = await randlora(fixture, "remove", "org/model", "--json");
  expect(JSON.parse(out)).toEqual({ name: "org/model", commits: [COMMIT], bytes: 320_062, whole: true });
  expect(fixture.list()).toEqual(["CACHEDIR.TAG"]);
});

test("an unknown name is an error that names the nearest", async () => {
  await using fixture = await Fixture.start();
  await resolveModel(NAME, { settings: fixture.settings(), weights: false });
  const near = await randlora(fixture, "remove", "org/modle@main");
  expect(near.status).toBe(1);
  expect(near.out).toBe("");
  expect(near.err).toBe(
    `error: org/modle@main is not in the cache (${fixture.cacheDir})\nhint: did you mean org/model?\n`,
  );
  expect((await randlora(fixture, "remove", "Model")).err).toContain("did you mean org/model?");
  expect((await randlora(fixture, "remove", "somebody/else")).err).toContain("`randlora list` shows what is there");
  const revision = await randlora(fixture, "remove", "org/model@v7");
  expect(revision.err).toContain(`hint: cached revisions of org/model: main, ${COMMIT.slice(0, 7)}`);
  expect(fixture.list("models--org--model", "snapshots")).toEqual([COMMIT]);
});
