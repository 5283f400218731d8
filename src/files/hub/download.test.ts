import { expect, test } from "bun:test";
import { readFileSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { resolveModel } from "./resolve.ts";
import { Fixture, failureOf, MODEL_FILES, randomBytes, WEIGHTS } from "./testing/fixture.ts";
import { commitOf, etagOf } from "./testing/content.ts";

const NAME = { repo: "org/model", revision: "main" };
const SNAPSHOT = join("models--org--model", "snapshots", commitOf("org/model", MODEL_FILES));
const BLOBS = join("models--org--model", "blobs");
const PARTIAL = `${WEIGHTS}.resume.incomplete`;
const WEIGHTS_URL = new RegExp(`cdn:/${WEIGHTS}`);

function weightsOf(fixture: Fixture): Buffer {
  return readFileSync(join(fixture.cacheDir, SNAPSHOT, "model.safetensors"));
}

function incompleteOf(fixture: Fixture): string[] {
  return fixture.list(BLOBS).filter((name) => name.endsWith(".incomplete"));
}

test.each(["dropAfter", "endAfter", "stallAfter"] as const)("continues in the same run after %s", async (how) => {
  await using fixture = await Fixture.start();
  fixture.hub.faults.push({ match: WEIGHTS_URL, times: 2, [how]: 120_000 });
  await resolveModel(NAME, { settings: fixture.settings({ timeoutMs: 300 }) });
  expect(weightsOf(fixture)).toEqual(Buffer.from(MODEL_FILES["model.safetensors"]));
  const ranges = fixture.hub.take().flatMap(({ what, range }) => (WEIGHTS_URL.test(what) ? [range] : []));
  expect(ranges).toEqual([undefined, "bytes=120000-", "bytes=240000-"]);
  expect(incompleteOf(fixture)).toEqual([]);
});

test("gives up when nothing comes any more, keeps what it has, and the next run continues", async () => {
  await using fixture = await Fixture.start();
  fixture.hub.faults.push({ match: WEIGHTS_URL, times: 1, dropAfter: 100_000 }, { match: WEIGHTS_URL, dropAfter: 0 });
  const failure = await failureOf(resolveModel(NAME, { settings: fixture.settings() }));
  expect(failure.kind).toBe("interrupted");
  expect(failure.message).toContain("org/model/model.safetensors");
  expect(failure.hint).toContain("continues where it stopped");
  expect(readFileSync(join(fixture.cacheDir, BLOBS, PARTIAL))).toHaveLength(100_000);
  expect(fixture.list("models--org--model", "refs")).toEqual([]);

  fixture.hub.faults.length = 0;
  fixture.hub.take();
  const done: number[] = [];
  await resolveModel(NAME, { settings: fixture.settings(), progress: ({ bytesDone }) => done.push(bytesDone) });
  expect(fixture.hub.take().find(({ what }) => WEIGHTS_URL.test(what))?.range).toBe("bytes=100000-");
  expect(done).toEqual(done.toSorted((a, b) => a - b));
  expect(weightsOf(fixture)).toEqual(Buffer.from(MODEL_FILES["model.safetensors"]));
});

test("a server without ranges sends everything again", async () => {
  await using fixture = await Fixture.start();
  fixture.hub.faults.push(
    { match: WEIGHTS_URL, times: 1, dropAfter: 50_000 },
    { match: WEIGHTS_URL, times: 1, noRanges: true },
  );
  const done: number[] = [];
  await resolveModel(NAME, { settings: fixture.settings(), progress: ({ bytesDone }) => done.push(bytesDone) });
  expect(weightsOf(fixture)).toEqual(Buffer.from(MODEL_FILES["model.safetensors"]));
  expect(done.at(-1)).toBe(done.length === 0 ? undefined : 320_062);
});

test("a range that does not begin where it should is refused", async () => {
  await using fixture = await Fixture.start();
  fixture.hub.faults.push(
    { match: WEIGHTS_URL, times: 1, dropAfter: 50_000 },
    { match: WEIGHTS_URL, headers: { "Content-Range": "bytes 0-299999/300000" } },
  );
  const failure = await failureOf(resolveModel(NAME, { settings: fixture.settings() }));
  expect(failure.message).toContain("wrong range for org/model/model.safetensors");
});

test("an earlier part that is damaged is found by the hash and fetched again", async () => {
  await using fixture = await Fixture.start();
  await resolveModel(NAME, { settings: fixture.settings(), weights: false });
  writeFileSync(join(fixture.cacheDir, BLOBS, PARTIAL), randomBytes(100_000, 99));
  await resolveModel(NAME, { settings: fixture.settings() });
  expect(weightsOf(fixture)).toEqual(Buffer.from(MODEL_FILES["model.safetensors"]));

  await using other = await Fixture.start();
  await resolveModel(NAME, { settings: other.settings(), weights: false });
  writeFileSync(join(other.cacheDir, BLOBS, PARTIAL), randomBytes(300_001, 99));
  await resolveModel(NAME, { settings: other.settings() });
  expect(weightsOf(other)).toEqual(Buffer.from(MODEL_FILES["model.safetensors"]));
});

test("a whole part from an earlier run needs no request", async () => {
  await using fixture = await Fixture.start();
  await resolveModel(NAME, { settings: fixture.settings(), weights: false });
  writeFileSync(join(fixture.cacheDir, BLOBS, PARTIAL), MODEL_FILES["model.safetensors"]);
  fixture.hub.take();
  await resolveModel(NAME, { settings: fixture.settings() });
  expect(fixture.hub.take().some(({ what }) => what.includes("resolve"))).toBe(false);
});

const WRONG = randomBytes(300_000, 5);

test("wrong bytes never get into the cache, whether large (SHA-256) or small (git's hash)", async () => {
  await using fixture = await Fixture.start();
  fixture.hub.faults.push({ match: WEIGHTS_URL, body: WRONG });
  const large = await failureOf(resolveModel(NAME, { settings: fixture.settings() }));
  expect(large.message).toBe(`org/model/model.safetensors arrived damaged: it should have SHA-256 ${WEIGHTS}`);
  expect(fixture.list(BLOBS)).not.toContain(WEIGHTS);

  await using other = await Fixture.start();
  const config = MODEL_FILES["config.json"];
  other.hub.faults.push({ match: /resolve.*\/config.json/, body: config.replace("llama", "gemma") });
  const small = await failureOf(resolveModel(NAME, { settings: other.settings() }));
  expect(small.message).toContain(`org/model/config.json arrived damaged: it should have git hash ${etagOf(config)}`);
  expect(other.list(SNAPSHOT)).not.toContain("config.json");
});

test("more bytes than announced are refused", async () => {
  await using fixture = await Fixture.start();
  fixture.hub.faults.push({ match: WEIGHTS_URL, body: randomBytes(300_001, 1) });
  const failure = await failureOf(resolveModel(NAME, { settings: fixture.settings() }));
  expect(failure.message).toContain("more than the 300000 bytes of model.safetensors");
});

test("the token goes to the Hub, never to the server that it sends us to", async () => {
  await using fixture = await Fixture.start();
  await resolveModel(NAME, { settings: fixture.settings({ token: "a-mirror's token" }) });
  const seen = fixture.hub.take();
  const tokens = (part: string): Set<string | undefined> =>
    new Set(seen.flatMap(({ what, authorization }) => (what.includes(part) ? [authorization] : [])));
  expect(tokens("GET /")).toEqual(new Set(["Bearer a-mirror's token"]));
  expect(tokens("cdn:")).toEqual(new Set([undefined]));
});

// Every write to /dev/full fails as on a full disk; only Linux has it.
test.if(process.platform === "linux")("a full disk is told as such, and nothing half-written remains", async () => {
  await using fixture = await Fixture.start();
  await resolveModel(NAME, { settings: fixture.settings(), weights: false });
  symlinkSync("/dev/full", join(fixture.cacheDir, BLOBS, PARTIAL));
  const work = resolveModel(NAME, { settings: fixture.settings() });
  await expect(work).rejects.toThrow("the disk is full");
  expect(fixture.list(SNAPSHOT)).not.toContain("model.safetensors");
});

test("a cut blob under a link is noticed by its size", async () => {
  await using fixture = await Fixture.start();
  await resolveModel(NAME, { settings: fixture.settings() });
  truncateSync(join(fixture.cacheDir, BLOBS, WEIGHTS), 299_999);
  await resolveModel(NAME, { settings: fixture.settings() });
  expect(weightsOf(fixture)).toEqual(Buffer.from(MODEL_FILES["model.safetensors"]));
});
