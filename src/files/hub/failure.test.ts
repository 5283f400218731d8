import { expect, test } from "bun:test";
import { MAX_ANSWER_BYTES, MAX_RETRIES, question } from "./http.ts";
import { resolveModel } from "./resolve.ts";
import { Fixture, failureOf, MODEL_FILES } from "./testing/fixture.ts";

const NAME = { repo: "org/model", revision: "main" };

test("no such repository", async () => {
  await using fixture = await Fixture.start({
    "org/secret": { revisions: { main: MODEL_FILES }, privateTo: "hf_owner" },
  });
  const host = new URL(fixture.hub.url).host;
  for (const token of [undefined, "hf_other"]) {
    for (const repo of ["org/nothing", "org/secret"]) {
      const failure = await failureOf(
        resolveModel({ repo, revision: "main" }, { settings: fixture.settings({ token }) }),
      );
      expect(failure.kind).toBe("missing");
      expect(failure.message).toBe(`${host} has no repository ${repo}, or it is private`);
      expect(failure.hint).toContain("HF_TOKEN");
    }
  }
  const settings = fixture.settings({ token: "hf_owner" });
  expect(await resolveModel({ repo: "org/secret", revision: "main" }, { settings })).toContain("models--org--secret");
});

test("no such revision", async () => {
  await using fixture = await Fixture.start();
  for (const revision of ["v9", "0".repeat(40), "a/b"]) {
    const failure = await failureOf(resolveModel({ ...NAME, revision }, { settings: fixture.settings() }));
    expect(failure.kind).toBe("absent");
    expect(failure.message).toBe(`org/model has no revision "${revision}"`);
  }
});

test("a file that vanished between list and download", async () => {
  await using fixture = await Fixture.start();
  fixture.hub.faults.push({
    match: /resolve.*\/config.json/,
    status: 404,
    headers: { "X-Error-Code": "EntryNotFound" },
  });
  const failure = await failureOf(resolveModel(NAME, { settings: fixture.settings() }));
  expect(failure.kind).toBe("absent");
  expect(failure.message).toContain("org/model has no file config.json");
});

test("a gated repository: how to get in, with and without a token", async () => {
  await using fixture = await Fixture.start({
    "org/gated": { revisions: { main: MODEL_FILES }, gatedTo: "hf_member" },
  });
  const name = { repo: "org/gated", revision: "main" };
  const stranger = await failureOf(resolveModel(name, { settings: fixture.settings() }));
  expect(stranger.kind).toBe("denied");
  expect(stranger.message).toContain("org/gated is gated");
  expect(stranger.hint).toBe(
    `accept its conditions at ${fixture.hub.url}/org/gated, then set HF_TOKEN to a token of that account`,
  );
  const guest = await failureOf(resolveModel(name, { settings: fixture.settings({ token: "hf_guest" }) }));
  expect(guest.kind).toBe("denied");
  expect(guest.hint).toContain("with the account that HF_TOKEN belongs to");
  expect(await resolveModel(name, { settings: fixture.settings({ token: "hf_member" }) })).toContain(
    "models--org--gated",
  );
});

test("a token that is not accepted", async () => {
  await using fixture = await Fixture.start();
  const failure = await failureOf(resolveModel(NAME, { settings: fixture.settings({ token: "hf_expired" }) }));
  expect(failure.kind).toBe("denied");
  expect(failure.message).toContain("does not accept the token: Invalid credentials in Authorization header");
  expect(failure.hint).toContain("unset it");
});

test.each([408, 429, 500, 502, 503, 504])("status %d passes: tried again", async (status) => {
  await using fixture = await Fixture.start();
  const match = /./;
  fixture.hub.faults.push({ match, status, times: 2 });
  await resolveModel(NAME, { settings: fixture.settings(), weights: false });
  expect(fixture.hub.take().filter(({ what }) => what.includes("/revision/"))).toHaveLength(3);
  fixture.hub.faults.push({ match: /cdn:/, status, times: 2 });
  await resolveModel(NAME, { settings: fixture.settings() });
  expect(fixture.hub.take().filter(({ what }) => what.includes("cdn:"))).toHaveLength(3);
});

test("a status that does not pass ends it, after several attempts", async () => {
  await using fixture = await Fixture.start();
  fixture.hub.faults.push({ match: /./, status: 429, headers: { "Retry-After": "0" } });
  const failure = await failureOf(resolveModel(NAME, { settings: fixture.settings() }));
  expect(failure.kind).toBe("busy");
  expect(failure.message).toContain("too many requests");
  expect(failure.hint).toBe("try later, or set HF_TOKEN");
  expect(fixture.hub.take()).toHaveLength(MAX_RETRIES + 1);
});

test("Retry-After is obeyed", async () => {
  await using fixture = await Fixture.start();
  fixture.hub.faults.push({ match: /revision/, status: 429, headers: { "Retry-After": "60" } });
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error("still waiting")), 200);
  const work = resolveModel(NAME, { settings: fixture.settings(), signal: controller.signal });
  await expect(work).rejects.toThrow("still waiting");
  expect(fixture.hub.take()).toHaveLength(1);
});

test("a status that repeating cannot change is not repeated", async () => {
  await using fixture = await Fixture.start();
  fixture.hub.faults.push({ match: /./, status: 418 });
  const failure = await failureOf(resolveModel(NAME, { settings: fixture.settings() }));
  expect(failure.kind).toBe("answer");
  expect(failure.hint).toContain("HF_ENDPOINT");
  expect(fixture.hub.take()).toHaveLength(1);
});

test("nobody listens: told at once", async () => {
  await using fixture = await Fixture.start();
  const settings = fixture.settings({ endpoint: "http://127.0.0.1:9", retryDelayMs: 60_000 });
  const failure = await failureOf(resolveModel(NAME, { settings }));
  expect(failure.kind).toBe("unreachable");
  expect(failure.message).toBe("cannot reach 127.0.0.1:9 for org/model (ECONNREFUSED)");
  const nonsense = await failureOf(resolveModel(NAME, { settings: fixture.settings({ endpoint: "not an address" }) }));
  expect(nonsense.hint).toContain("HF_ENDPOINT");
});

test("a silent server is given up", async () => {
  await using fixture = await Fixture.start();
  fixture.hub.faults.push({ match: /revision/, before: () => Bun.sleep(400) });
  const failure = await failureOf(resolveModel(NAME, { settings: fixture.settings({ timeoutMs: 40 }) }));
  expect(failure.kind).toBe("interrupted");
  expect(failure.message).toContain("no byte for 0.04 s");
});

test.each([
  ["a login page", "<html>Welcome to our hotel</html>"],
  ["no commit", '{"id": "org/model"}'],
  ["a commit that is a path", '{"id": "org/model", "sha": "../../../etc"}'],
  ["null", "null"],
])("%s is not a Hub's answer", async (_, body) => {
  await using fixture = await Fixture.start();
  fixture.hub.faults.push({ match: /revision/, body });
  const failure = await failureOf(resolveModel(NAME, { settings: fixture.settings() }));
  expect(failure.kind).toBe("answer");
  expect(failure.message).toContain("does not answer like a Hub");
});

test.each([
  ["hash", [{ type: "file", path: "config.json", size: 3, oid: "../../../evil" }]],
  ["size", [{ type: "file", path: "config.json", size: -1, oid: "0".repeat(40) }]],
  ["list", { files: 1 }],
])("a tree with a wrong %s is refused", async (_, tree) => {
  await using fixture = await Fixture.start();
  fixture.hub.faults.push({ match: /tree/, body: JSON.stringify(tree) });
  const failure = await failureOf(resolveModel(NAME, { settings: fixture.settings() }));
  expect(failure.message).toContain("does not answer like a Hub");
  expect(fixture.list()).toEqual([]);
});

test("a list that comes slowly is waited for while it comes", async () => {
  await using fixture = await Fixture.start();
  // A hundred parts and more, over some three seconds: several times what may pass in silence, and more than a busy machine is silent.
  fixture.hub.faults.push({ match: /tree/, trickle: 30, times: 1 });
  await resolveModel(NAME, { settings: fixture.settings({ timeoutMs: 800 }) });
  expect(fixture.hub.take().filter(({ what }) => what.includes("/tree/"))).toHaveLength(1);
});

const blanks = (count: number) => Buffer.alloc(count, " ");

test("a list that is too long is given up", async () => {
  await using fixture = await Fixture.start();
  fixture.hub.faults.push({ match: /tree/, body: blanks(MAX_ANSWER_BYTES + 1) });
  const failure = await failureOf(resolveModel(NAME, { settings: fixture.settings() }));
  expect([failure.kind, failure.message]).toEqual([
    "answer",
    expect.stringContaining("more than 67108864 bytes about org/model"),
  ]);
});

test("an answer that has no end is given up", async () => {
  await using fixture = await Fixture.start();
  fixture.hub.faults.push({ match: /./, body: blanks(100_000), trickle: 1 });
  // Silences that a busy machine makes are shorter than this.
  const connection = { settings: fixture.settings({ timeoutMs: 1000 }), signal: new AbortController().signal };
  const ask = question(connection, NAME, MAX_RETRIES, 0.5);
  const failure = await failureOf(ask(`${fixture.hub.url}/api/models/org/model/revision/main`));
  expect([failure.kind, failure.message]).toEqual([
    "answer",
    expect.stringContaining("no end of its answer about org/model"),
  ]);
});

test("a list that goes on at another server, and one that is none, are refused", async () => {
  for (const fault of [
    { body: "[]", headers: { Link: '<http://elsewhere.invalid/api/models/org/model/tree/x>; rel="next"' } },
    { body: '{"type": "file"}' },
    { body: '[{"type": "file", "path": 7}]' },
    { body: "[" },
  ]) {
    await using fixture = await Fixture.start();
    fixture.hub.faults.push({ match: /tree/, ...fault });
    const failure = await failureOf(resolveModel(NAME, { settings: fixture.settings() }));
    expect([failure.kind, failure.temporary]).toEqual(["answer", false]);
  }
});
