import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { removeCached } from "./remove.ts";
import { resolveModel } from "./resolve.ts";
import { type CachedRepository, scanCache } from "./scan.ts";
import { Fixture, MODEL_FILES, WEIGHTS } from "./testing/fixture.ts";
import { commitOf, etagOf } from "./testing/content.ts";

const CHANGED = {
  ...MODEL_FILES,
  "config.json": '{"model_type": "qwen2"}\n',
  "additional_chat_templates/x.jinja": "x",
};
const OLD = commitOf("org/model", MODEL_FILES);
const NEW = commitOf("org/model", CHANGED);
const BYTES = 320_062;
const OLD_CONFIG = Buffer.byteLength(MODEL_FILES["config.json"]);
const NEW_CONFIG = Buffer.byteLength(CHANGED["config.json"]);

/** A cache with two revisions of one model: a tag and the main branch. */
async function twoRevisions(fixture: Fixture, symlinks = true): Promise<CachedRepository> {
  const settings = fixture.settings({ symlinks });
  fixture.hub.repositories.set("org/model", { revisions: { main: CHANGED, "old/tag": MODEL_FILES } });
  await resolveModel({ repo: "org/model", revision: "main" }, { settings });
  await resolveModel({ repo: "org/model", revision: "old/tag" }, { settings });
  return await only(fixture);
}

async function only(fixture: Fixture): Promise<CachedRepository> {
  const [repository, ...others] = await scanCache(fixture.cacheDir);
  expect(others).toEqual([]);
  if (repository === undefined) throw new Error("nothing is cached");
  return repository;
}

test("counts what revisions share once", async () => {
  await using fixture = await Fixture.start();
  const repository = await twoRevisions(fixture);
  expect(repository.repo).toBe("org/model");
  expect(repository.bytes).toBe(BYTES + NEW_CONFIG + 1);
  expect(repository.incompleteBytes).toBe(0);
  const summary = repository.revisions.map(({ commit, refs, files, bytes }) => ({ commit, refs, files, bytes }));
  expect(summary.toSorted((a, b) => a.files - b.files)).toEqual([
    { commit: OLD, refs: ["old/tag"], files: 6, bytes: BYTES },
    { commit: NEW, refs: ["main"], files: 7, bytes: BYTES - OLD_CONFIG + NEW_CONFIG + 1 },
  ]);
});

test("last used is when a file was last read", async () => {
  await using fixture = await Fixture.start();
  await twoRevisions(fixture);
  const then = new Date("2031-02-03T04:05:06Z");
  utimesSync(join(fixture.cacheDir, "models--org--model", "blobs", WEIGHTS), then, new Date());
  expect((await only(fixture)).lastUsedMs).toBe(then.getTime());
});

test("bears with what others leave in a cache", async () => {
  await using fixture = await Fixture.start();
  expect(await scanCache(join(fixture.cacheDir, "nowhere"))).toEqual([]);
  const folder = join(fixture.cacheDir, "models--org--odd");
  mkdirSync(join(folder, "snapshots", OLD), { recursive: true });
  mkdirSync(join(folder, "blobs"));
  mkdirSync(join(fixture.cacheDir, "datasets--org--data"));
  mkdirSync(join(fixture.cacheDir, ".locks"));
  writeFileSync(join(fixture.cacheDir, "models--a-file"), "");
  writeFileSync(join(folder, "snapshots", ".DS_Store"), "");
  writeFileSync(join(folder, "blobs", "abc.incomplete"), "12345");
  symlinkSync(join("..", "..", "blobs", "gone"), join(folder, "snapshots", OLD, "config.json"));
  const repository = await only(fixture);
  expect(repository).toMatchObject({ repo: "org/odd", bytes: 5, incompleteBytes: 5 });
  expect(repository.revisions).toMatchObject([{ commit: OLD, refs: [], files: 1, bytes: 0 }]);
});

test.each([true, false])("removing a revision frees what no other uses (links: %p)", async (symlinks) => {
  await using fixture = await Fixture.start();
  const before = await twoRevisions(fixture, symlinks);
  const removal = await removeCached(before, "old/tag");
  const freed = symlinks ? OLD_CONFIG : BYTES;
  expect(removal).toEqual({ repo: "org/model", commits: [OLD], bytes: freed, whole: false });
  const after = await only(fixture);
  expect(before.bytes - after.bytes).toBe(freed);
  expect(after.revisions.map(({ commit }) => commit)).toEqual([NEW]);
  expect(fixture.list("models--org--model", "refs", "old")).toEqual([]);
  expect(fixture.list("models--org--model", "trees")).toEqual([`${NEW}.json`]);
  const offline = fixture.settings({ offline: true });
  const folder = await resolveModel({ repo: "org/model", revision: "main" }, { settings: offline });
  expect(readFileSync(join(folder, "model.safetensors"))).toEqual(Buffer.from(MODEL_FILES["model.safetensors"]));
  await expect(resolveModel({ repo: "org/model", revision: OLD }, { settings: offline })).rejects.toThrow(
    "not in the cache",
  );
});

test("a revision is found by branch, commit or the beginning of one", async () => {
  for (const revision of ["old/tag", OLD, OLD.slice(0, 7)]) {
    await using fixture = await Fixture.start();
    expect((await removeCached(await twoRevisions(fixture), revision)).commits).toEqual([OLD]);
  }
  await using fixture = await Fixture.start();
  const repository = await twoRevisions(fixture);
  for (const revision of ["v9", "ol", OLD.slice(0, 3), "../main"]) {
    await expect(removeCached(repository, revision)).rejects.toThrow("is not in the cache");
  }
  const [first, ...rest] = repository.revisions;
  if (first === undefined) throw new Error("no revision");
  const twins = { ...repository, revisions: [first, { ...first, refs: [] }, ...rest] };
  await expect(removeCached(twins, first.commit.slice(0, 7))).rejects.toThrow("more than one commit");
});

test("removing the last revision, or all, leaves nothing", async () => {
  await using fixture = await Fixture.start();
  mkdirSync(join(fixture.cacheDir, ".locks", "models--org--model"), { recursive: true });
  await removeCached(await twoRevisions(fixture), "main");
  const last = await only(fixture);
  writeFileSync(join(last.path, "blobs", "abc.incomplete"), "12345");
  expect(await removeCached(await only(fixture), OLD)).toMatchObject({ whole: true, bytes: BYTES + 5 });
  expect(await scanCache(fixture.cacheDir)).toEqual([]);
  expect(existsSync(last.path)).toBe(false);
  expect(fixture.list(".locks")).toEqual([]);

  expect(await removeCached(await twoRevisions(fixture), undefined)).toMatchObject({
    whole: true,
    commits: { length: 2 },
  });
  expect(await scanCache(fixture.cacheDir)).toEqual([]);
});

test("what lies outside the repository is never removed", async () => {
  await using fixture = await Fixture.start();
  const repository = await twoRevisions(fixture);
  const outside = join(fixture.cacheDir, "precious");
  writeFileSync(outside, "mine");
  const weights = join(repository.path, "blobs", WEIGHTS);
  rmSync(weights);
  symlinkSync(outside, weights);
  const link = join(repository.path, "snapshots", OLD, "config.json");
  rmSync(link);
  symlinkSync(outside, link);
  await removeCached(await only(fixture), OLD);
  await removeCached(await only(fixture), undefined);
  expect(readFileSync(outside, "utf8")).toBe("mine");
  expect(etagOf("mine")).not.toBe(WEIGHTS);
});
