import { expect, test } from "bun:test";
import { lstatSync, mkdirSync, readFileSync, readlinkSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { RandloraError } from "../errors.ts";
import { type HubProgress, resolveAdapter, resolveModel } from "./resolve.ts";
import { Fixture, MODEL_FILES, NEEDED, randomBytes, WEIGHTS } from "./testing/fixture.ts";
import { commitOf, etagOf } from "./testing/content.ts";

const NAME = { repo: "org/model", revision: "main" };
const COMMIT = commitOf("org/model", MODEL_FILES);
const FOLDER = "models--org--model";

test("fetches what a model needs, in Python's layout", async () => {
  await using fixture = await Fixture.start();
  const folder = await resolveModel(NAME, { settings: fixture.settings() });
  expect(folder).toBe(join(fixture.cacheDir, FOLDER, "snapshots", COMMIT));
  expect(fixture.list(relative(fixture.cacheDir, folder))).toEqual(NEEDED);
  for (const path of NEEDED) {
    const content = Object.entries(MODEL_FILES).find(([name]) => name === path)?.[1] ?? "";
    expect(readFileSync(join(folder, path))).toEqual(Buffer.from(content));
    expect(readlinkSync(join(folder, path))).toBe(join("..", "..", "blobs", etagOf(content)));
  }
  expect(readFileSync(join(fixture.cacheDir, FOLDER, "refs", "main"), "utf8")).toBe(COMMIT);
  expect(fixture.list(FOLDER)).toEqual(["blobs", "refs", "snapshots", "trees"]);
  expect(fixture.list(FOLDER, "blobs")).toHaveLength(NEEDED.length);
});

test("a branch is looked up again, its files are not fetched again; a commit needs no connection at all", async () => {
  await using fixture = await Fixture.start();
  const settings = fixture.settings();
  const folder = await resolveModel(NAME, { settings });
  fixture.hub.take();
  expect(await resolveModel(NAME, { settings })).toBe(folder);
  expect(fixture.hub.take().map(({ what }) => what)).toEqual(["GET /api/models/org/model/revision/main"]);
  expect(await resolveModel({ ...NAME, revision: COMMIT }, { settings })).toBe(folder);
  expect(fixture.hub.take()).toEqual([]);
});

test("a new commit shares what did not change", async () => {
  await using fixture = await Fixture.start();
  const settings = fixture.settings();
  const old = await resolveModel(NAME, { settings });
  const changed = { ...MODEL_FILES, "config.json": '{"model_type": "qwen2"}\n' };
  fixture.hub.repositories.set("org/model", { revisions: { main: changed, "refs/pr/1": MODEL_FILES } });
  fixture.hub.take();
  const now = await resolveModel(NAME, { settings });
  expect(now).not.toBe(old);
  expect(readFileSync(join(now, "config.json"), "utf8")).toContain("qwen2");
  expect(readFileSync(join(old, "config.json"), "utf8")).toContain("llama");
  expect(fixture.hub.take().filter(({ what }) => what.includes("resolve"))).toHaveLength(1);
  expect(await resolveModel({ ...NAME, revision: "refs/pr/1" }, { settings })).toBe(old);
  expect(readFileSync(join(fixture.cacheDir, FOLDER, "refs", "refs", "pr", "1"), "utf8")).toBe(COMMIT);
});

test("tells how far it is, without what is cached already", async () => {
  await using fixture = await Fixture.start();
  const settings = fixture.settings();
  await resolveModel(NAME, { settings, weights: false });
  const seen: HubProgress[] = [];
  const folder = await resolveModel(NAME, { settings, progress: (progress) => seen.push(progress) });
  expect(fixture.list(relative(fixture.cacheDir, folder))).toEqual(NEEDED);
  expect(seen.at(-1)).toEqual({
    repo: "org/model",
    file: "model.safetensors",
    bytesDone: 300_000,
    bytesTotal: 300_000,
    filesDone: 1,
    filesTotal: 1,
  });
  seen.length = 0;
  await resolveModel(NAME, { settings, progress: (progress) => seen.push(progress) });
  expect(seen).toEqual([]);
});

test("the tokenizer alone brings no weights, and does not pass for the model offline", async () => {
  await using fixture = await Fixture.start();
  const folder = await resolveModel(NAME, { settings: fixture.settings(), weights: false });
  expect(fixture.list(relative(fixture.cacheDir, folder))).toEqual(
    NEEDED.filter((path) => path !== "model.safetensors"),
  );
  const settings = fixture.settings({ offline: true });
  expect(await resolveModel(NAME, { settings, weights: false })).toBe(folder);
  await expect(resolveModel(NAME, { settings })).rejects.toThrow("part of org/model: model.safetensors missing");
  rmSync(join(fixture.cacheDir, FOLDER, "trees"), { recursive: true });
  await expect(resolveModel(NAME, { settings })).rejects.toThrow(
    "part of org/model: its configuration or its weights missing",
  );
});

test("takes the shards that the index names, and a tree that comes in pages", async () => {
  const map = { a: "model-00001-of-00002.safetensors", b: "model-00002-of-00002.safetensors" };
  const files = {
    "config.json": "{}",
    "consolidated.safetensors": randomBytes(10, 0),
    "model-00001-of-00002.safetensors": randomBytes(5000, 1),
    "model-00002-of-00002.safetensors": randomBytes(6000, 2),
    "model-00003-of-00003.safetensors": randomBytes(10, 3),
    "model.safetensors.index.json": JSON.stringify({ metadata: {}, weight_map: map }),
    "additional_chat_templates/tools.jinja": "x",
  };
  await using fixture = await Fixture.start({ "org/sharded": { revisions: { main: files } } });
  fixture.hub.pageSize = 2;
  const name = { repo: "org/sharded", revision: "main" };
  const folder = await resolveModel(name, { settings: fixture.settings() });
  expect(fixture.list(relative(fixture.cacheDir, folder))).toEqual([
    "additional_chat_templates",
    "config.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
  ]);
  const link = readlinkSync(join(folder, "additional_chat_templates", "tools.jinja"));
  expect(link).toBe(join("..", "..", "..", "blobs", etagOf("x")));
  expect(await resolveModel(name, { settings: fixture.settings({ offline: true }) })).toBe(folder);
});

test("an index that names a file which is not there is refused", async () => {
  const index = JSON.stringify({ weight_map: { a: "gone.safetensors" } });
  const files = { "config.json": "{}", "model.safetensors.index.json": index };
  await using fixture = await Fixture.start({ "org/broken": { revisions: { main: files } } });
  const work = resolveModel({ repo: "org/broken", revision: "main" }, { settings: fixture.settings() });
  await expect(work).rejects.toThrow("org/broken has no gone.safetensors, which its index names");
});

test.each(["..\\..\\evil.safetensors", "C:evil.safetensors", "nul.safetensors"])(
  "weights by the name of %p are refused: on some system it leaves the folder",
  async (path) => {
    const files = { "config.json": "{}\n", [path]: randomBytes(10, 5) };
    await using fixture = await Fixture.start({ "org/evil": { revisions: { main: files } } });
    const work = resolveModel({ repo: "org/evil", revision: "main" }, { settings: fixture.settings() });
    await expect(work).rejects.toThrow("which leaves the folder");
    expect(fixture.list("models--org--evil")).not.toContain("snapshots");
    expect(fixture.list("models--org--evil", "blobs")).toEqual([]);
  },
);

test("a token that would be sent without encryption is told of, unless it stays on this machine", async () => {
  await using fixture = await Fixture.start();
  const warnings: string[] = [];
  const warn = (line: string): number => warnings.push(line);
  const token = "hf_mine";
  // No resolver is asked for this: a part of a name has 63 characters at most (RFC 1035).
  const endpoint = `http://${"x".repeat(64)}.invalid`;
  await resolveModel(NAME, { settings: fixture.settings({ token }), warn });
  await resolveModel(NAME, { settings: fixture.settings({ endpoint }), warn });
  await resolveModel({ ...NAME, revision: COMMIT }, { settings: fixture.settings({ endpoint, token }), warn });
  expect(warnings).toEqual([expect.stringContaining("using the copy in the cache")]);
  await resolveModel(NAME, { settings: fixture.settings({ endpoint, token }), warn });
  expect(warnings[1]).toBe(
    `HF_ENDPOINT=${endpoint}: your token is sent without encryption; use https, or unset HF_TOKEN`,
  );
});

test("an adapter is its two files, or an adapter.json", async () => {
  const peft = {
    "README.md": "x",
    "adapter_config.json": "{}",
    "adapter_model.safetensors": randomBytes(1000, 1),
    "checkpoint-100/adapter_model.safetensors": randomBytes(1000, 2),
    "training_args.bin": randomBytes(10, 3),
  };
  await using fixture = await Fixture.start({
    "org/peft": { revisions: { main: peft } },
    "org/json": { revisions: { main: { "adapter.json": "{}" } } },
  });
  const settings = fixture.settings();
  const folder = await resolveAdapter({ repo: "org/peft", revision: "main" }, { settings });
  expect(fixture.list(relative(fixture.cacheDir, folder))).toEqual([
    "adapter_config.json",
    "adapter_model.safetensors",
  ]);
  const other = await resolveAdapter({ repo: "org/json", revision: "main" }, { settings });
  expect(fixture.list(relative(fixture.cacheDir, other))).toEqual(["adapter.json"]);
  await expect(resolveModel({ repo: "org/peft", revision: "main" }, { settings })).rejects.toThrow(
    "is an adapter, not a model",
  );
  await expect(resolveAdapter(NAME, { settings })).rejects.toThrow("is not an adapter");
});

test("a damaged blob is replaced", async () => {
  await using fixture = await Fixture.start();
  const settings = fixture.settings();
  const folder = await resolveModel(NAME, { settings });
  truncateSync(join(fixture.cacheDir, FOLDER, "blobs", WEIGHTS), 1000);
  await expect(resolveModel(NAME, { settings, offline: true })).rejects.toThrow("model.safetensors missing");
  await resolveModel({ ...NAME, revision: COMMIT }, { settings });
  expect(readFileSync(join(folder, "model.safetensors"))).toEqual(Buffer.from(MODEL_FILES["model.safetensors"]));
});

test("without symbolic links the snapshot holds the files themselves", async () => {
  await using fixture = await Fixture.start();
  const settings = fixture.settings({ symlinks: false });
  const folder = await resolveModel(NAME, { settings });
  for (const path of NEEDED) expect(lstatSync(join(folder, path)).isFile()).toBe(true);
  expect(fixture.list(FOLDER, "blobs")).toEqual([]);
  fixture.hub.take();
  expect(await resolveModel(NAME, { settings, offline: true })).toBe(folder);
});

test("the user's wish to stop ends it at once, and the next attempt goes on", async () => {
  await using fixture = await Fixture.start();
  fixture.hub.faults.push({ match: /cdn:/, stallAfter: 100_000 });
  const controller = new AbortController();
  const settings = fixture.settings();
  const work = resolveModel(NAME, {
    settings,
    signal: controller.signal,
    progress: ({ file, bytesDone }) => {
      if (file === "model.safetensors" && bytesDone >= 100_000) controller.abort(new Error("enough"));
    },
  });
  await expect(work).rejects.toThrow("enough");
  await work.catch(() => undefined);
  expect(fixture.list(FOLDER, "blobs")).toContain(`${WEIGHTS}.resume.incomplete`);
  expect(fixture.list(FOLDER, "refs")).toEqual([]);
  fixture.hub.faults.length = 0;
  fixture.hub.take();
  await resolveModel(NAME, { settings });
  const ranges = fixture.hub.take().flatMap(({ range }) => range ?? []);
  expect(ranges).toContain("bytes=100000-");
  expect(fixture.list(FOLDER, "blobs").filter((name) => name.endsWith(".incomplete"))).toEqual([]);
});

test("too little space is noticed before anything is fetched", async () => {
  const tree = { format_version: 1, files: Object.fromEntries(["config.json", "model.safetensors"].map(huge)) };
  await using fixture = await Fixture.start();
  mkdirSync(join(fixture.cacheDir, FOLDER, "trees"), { recursive: true });
  writeFileSync(join(fixture.cacheDir, FOLDER, "trees", `${COMMIT}.json`), JSON.stringify(tree));
  const work = resolveModel(NAME, { settings: fixture.settings() });
  await expect(work).rejects.toBeInstanceOf(RandloraError);
  await expect(work).rejects.toThrow("not enough space for org/model");
  await work.catch(() => undefined);
  expect(fixture.list(FOLDER, "blobs")).toEqual([]);
});

test("what lies there already, in part or whole, needs no more space", async () => {
  const files = {
    "config.json": { size: 2, blob_id: "1".repeat(40) },
    "model.safetensors": { size: 2 ** 50, blob_id: "0".repeat(40) },
  };
  await using fixture = await Fixture.start();
  for (const name of ["trees", "blobs"]) mkdirSync(join(fixture.cacheDir, FOLDER, name), { recursive: true });
  writeFileSync(
    join(fixture.cacheDir, FOLDER, "trees", `${COMMIT}.json`),
    JSON.stringify({ format_version: 1, files }),
  );
  writeFileSync(join(fixture.cacheDir, FOLDER, "blobs", "1".repeat(40)), "{}");
  const partial = join(fixture.cacheDir, FOLDER, "blobs", `${"0".repeat(40)}.resume.incomplete`);
  writeFileSync(partial, "");
  truncateSync(partial, 2 ** 40);
  const work = resolveModel(NAME, { settings: fixture.settings() });
  await expect(work).rejects.toThrow(`it needs ${((2 ** 50 - 2 ** 40) / 1e9).toFixed(2)} GB`);
});

function huge(path: string): [string, object] {
  return [path, { size: 2 ** 50, blob_id: "0".repeat(40) }];
}
