import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { resolveModel } from "./resolve.ts";
import { Fixture, failureOf, MODEL_FILES } from "./testing/fixture.ts";
import { commitOf } from "./testing/content.ts";

const NAME = { repo: "org/model", revision: "main" };
const COMMIT = commitOf("org/model", MODEL_FILES);

test("offline, a cached model is found with the server gone, an unknown one is refused", async () => {
  await using fixture = await Fixture.start();
  const folder = await resolveModel(NAME, { settings: fixture.settings() });
  const offline = fixture.settings({ offline: true, endpoint: "http://127.0.0.1:9" });
  expect(await resolveModel(NAME, { settings: offline })).toBe(folder);
  expect(
    await resolveModel(NAME, { settings: fixture.settings({ endpoint: "http://127.0.0.1:9" }), offline: true }),
  ).toBe(folder);
  const unknown = resolveModel({ repo: "org/other", revision: "main" }, { settings: offline });
  await expect(unknown).rejects.toThrow("org/other is not in the cache");
  const revision = resolveModel({ ...NAME, revision: "v2" }, { settings: offline });
  await expect(revision).rejects.toThrow("org/model@v2 is not in the cache");
  const commit = resolveModel({ ...NAME, revision: "0".repeat(40) }, { settings: offline });
  await expect(commit).rejects.toThrow("is not in the cache");
});

test("when the Hub does not answer, the cached copy serves, with a warning; without one the cause is told", async () => {
  await using fixture = await Fixture.start();
  const folder = await resolveModel(NAME, { settings: fixture.settings() });
  const warnings: string[] = [];
  const warn = (line: string): number => warnings.push(line);
  const gone = fixture.settings({ endpoint: "http://127.0.0.1:9" });
  expect(await resolveModel(NAME, { settings: gone, warn })).toBe(folder);
  expect(warnings).toEqual([
    `cannot reach 127.0.0.1:9 for org/model (ECONNREFUSED); using the copy in the cache (${COMMIT.slice(0, 7)})`,
  ]);
  const failure = await failureOf(resolveModel({ repo: "org/x", revision: "main" }, { settings: gone }));
  expect(failure.kind).toBe("unreachable");
  expect(failure.hint).toContain("HF_HUB_OFFLINE");

  fixture.hub.faults.push({ match: /revision/, status: 503, times: 1 });
  fixture.hub.take();
  expect(await resolveModel(NAME, { settings: fixture.settings(), warn })).toBe(folder);
  expect(fixture.hub.take()).toHaveLength(1);
});

test("a revision that is gone from the Hub is an error, cached or not", async () => {
  await using fixture = await Fixture.start();
  await resolveModel(NAME, { settings: fixture.settings() });
  fixture.hub.repositories.set("org/model", { revisions: { other: MODEL_FILES } });
  const failure = await failureOf(resolveModel(NAME, { settings: fixture.settings() }));
  expect(failure.message).toBe('org/model has no revision "main"');
});

test("a snapshot from an older Python, without a list of files, is used as it is", async () => {
  await using fixture = await Fixture.start();
  const settings = fixture.settings();
  const snapshot = join(fixture.cacheDir, "models--org--old", "snapshots", "1".repeat(40));
  mkdirSync(snapshot, { recursive: true });
  mkdirSync(join(fixture.cacheDir, "models--org--old", "refs"));
  writeFileSync(join(fixture.cacheDir, "models--org--old", "refs", "main"), "1".repeat(40));
  for (const path of ["config.json", "model.safetensors"]) writeFileSync(join(snapshot, path), "x");
  expect(await resolveModel({ repo: "org/old", revision: "main" }, { settings, offline: true })).toBe(snapshot);
});
