import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runToEnd } from "../testing/process.ts";
import { Partial } from "./partial.ts";
import { resolveModel } from "./resolve.ts";
import { failureOf, Fixture, MODEL_FILES, WEIGHTS } from "./testing/fixture.ts";
import { commitOf } from "./testing/content.ts";

const NAME = { repo: "org/model", revision: "main" };
const SNAPSHOT = join("models--org--model", "snapshots", commitOf("org/model", MODEL_FILES));
const BLOBS = join("models--org--model", "blobs");
const WEIGHTS_URL = new RegExp(`cdn:/${WEIGHTS}`);

function weightsOf(fixture: Fixture): Buffer {
  return readFileSync(join(fixture.cacheDir, SNAPSHOT, "model.safetensors"));
}

function incompleteOf(fixture: Fixture): string[] {
  return fixture.list(BLOBS).filter((name) => name.endsWith(".incomplete"));
}

test("two in one process, and two processes, fetch a file once", async () => {
  await using fixture = await Fixture.start();
  fixture.hub.faults.push({ match: /cdn:/, before: () => Bun.sleep(100) });
  const script = `
    import { resolveModel } from ${JSON.stringify(join(import.meta.dir, "resolve.ts"))};
    const settings = JSON.parse(process.argv[1]);
    process.stdout.write(await resolveModel({ repo: "org/model", revision: "main" }, { settings }));
  `;
  const settings = fixture.settings();
  const other = async (): Promise<string> => {
    const { stdout, stderr } = await runToEnd([process.execPath, "-e", script, JSON.stringify(settings)]);
    expect(stderr).toBe("");
    return stdout;
  };
  const folders = await Promise.all([
    resolveModel(NAME, { settings }),
    resolveModel(NAME, { settings }),
    other(),
    other(),
  ]);
  expect(new Set(folders)).toEqual(new Set([join(fixture.cacheDir, SNAPSHOT)]));
  expect(weightsOf(fixture)).toEqual(Buffer.from(MODEL_FILES["model.safetensors"]));
  expect(fixture.list(BLOBS)).toHaveLength(6);
  // Starting in the very same instant may cost a second transfer, never more than one a contender.
  expect(fixture.hub.take().filter(({ what }) => WEIGHTS_URL.test(what)).length).toBeLessThan(4);
});

/** Somebody who fetches the weights, and has so many bytes of them. */
async function otherAt(fixture: Fixture, bytes: number): Promise<Partial> {
  const partial = await Partial.claim(join(fixture.cacheDir, BLOBS, WEIGHTS));
  if (partial === undefined) throw new Error("somebody else has it");
  writeFileSync(partial.path, MODEL_FILES["model.safetensors"].slice(0, bytes));
  return partial;
}

test("who waits for another process says so, shows how far it is, and goes on when it gives up", async () => {
  await using fixture = await Fixture.start();
  await resolveModel(NAME, { settings: fixture.settings(), weights: false });
  const other = await otherAt(fixture, 1000);
  const lines: string[] = [];
  const done: number[] = [];
  await resolveModel(NAME, {
    settings: fixture.settings(),
    warn: (line) => {
      lines.push(line);
      void other.release();
    },
    progress: ({ bytesDone }) => done.push(bytesDone),
  });
  expect(lines).toEqual([`waiting for process ${process.pid}, which is fetching org/model/model.safetensors`]);
  expect(done).toContain(1000);
  expect(done.at(-1)).toBe(MODEL_FILES["model.safetensors"].length);
  expect(weightsOf(fixture)).toEqual(Buffer.from(MODEL_FILES["model.safetensors"]));
});

test("a process that fetches nothing any more is not waited for without end", async () => {
  await using fixture = await Fixture.start();
  await resolveModel(NAME, { settings: fixture.settings(), weights: false });
  const other = await otherAt(fixture, 1000);
  const failure = await failureOf(resolveModel(NAME, { settings: fixture.settings({ timeoutMs: 20 }) }));
  expect(failure.message).toContain(`process ${process.pid} is fetching org/model/model.safetensors`);
  expect(failure.hint).toContain("end that process");
  await other.release();
});

test("what a killed process left is continued", async () => {
  await using fixture = await Fixture.start();
  fixture.hub.faults.push({ match: WEIGHTS_URL, stallAfter: 150_000, times: 1 });
  const script = `
    import { resolveModel } from ${JSON.stringify(join(import.meta.dir, "resolve.ts"))};
    const settings = JSON.parse(process.argv[1]);
    await resolveModel({ repo: "org/model", revision: "main" }, { settings, progress(p) {
      if (p.file === "model.safetensors" && p.bytesDone >= 150000) process.kill(process.pid, "SIGKILL");
    } });
  `;
  const child = Bun.spawn([process.execPath, "-e", script, JSON.stringify(fixture.settings())]);
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
  expect(incompleteOf(fixture).some((name) => name.startsWith(WEIGHTS))).toBe(true);
  fixture.hub.take();
  await resolveModel(NAME, { settings: fixture.settings() });
  const range = fixture.hub.take().find(({ what }) => WEIGHTS_URL.test(what))?.range;
  expect(range).toMatch(/^bytes=1[0-9]{5}-$/);
  expect(weightsOf(fixture)).toEqual(Buffer.from(MODEL_FILES["model.safetensors"]));
  expect(incompleteOf(fixture)).toEqual([]);
});

test("a download of Python's is left alone", async () => {
  await using fixture = await Fixture.start();
  await resolveModel(NAME, { settings: fixture.settings(), weights: false });
  const theirs = [`${WEIGHTS}.0a1b2c3d.incomplete`, `${WEIGHTS}.incomplete`];
  for (const name of theirs) writeFileSync(join(fixture.cacheDir, BLOBS, name), "theirs");
  await resolveModel(NAME, { settings: fixture.settings() });
  expect(incompleteOf(fixture)).toEqual(theirs);
  for (const name of theirs) expect(readFileSync(join(fixture.cacheDir, BLOBS, name), "utf8")).toBe("theirs");
});
