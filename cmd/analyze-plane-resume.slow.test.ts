import { beforeAll, expect, test } from "bun:test";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { writeAdapter } from "../src/adapters/merge/testing/models.ts";
import { randlora, startProgram } from "./testing/program.ts";

const folder = await TemporaryFolder.forTests();
const GRID = 10;
const ARGS = ["plane", STORIES, "--at", "one", "--at", "two", "--at", "three", "--data", "data.jsonl"];
const FILE = [...ARGS, "--grid", String(GRID), "--out"];
beforeAll(async () => {
  const texts = Array.from({ length: 3 }, (_, i) => `Once upon a time there ${"was a cat ".repeat(30)}${i}.`);
  await Bun.write(folder.at("data.jsonl"), texts.map((text) => `${JSON.stringify({ text })}\n`).join(""));
  const modules = { "model.layers.0.mlp.up_proj": [172, 64], "model.layers.3.self_attn.q_proj": [64, 64] } as const;
  for (const [seed, name] of ["one", "two", "three"].entries()) {
    await writeAdapter(folder.at(name), { r: 4, alpha: 64, seed, size: 0.1, modules });
  }
});

const start = (...args: readonly string[]) =>
  startProgram(["analyze", ...args], { cwd: folder.path, env: { RANDLORA_DEVICE: "cpu" } });
const analyze = (...args: readonly string[]) => randlora(["analyze", ...args], { cwd: folder.path });

const text = (name: string) => Bun.file(folder.at(name)).text();
/** Points that a file has; none where it is not there yet. */
async function pointsIn(name: string): Promise<number> {
  const found = await Bun.file(folder.at(name))
    .json()
    .catch((thrown: unknown) => {
      if (thrown instanceof SyntaxError) throw thrown;
      return { loss: [] };
    });
  return found.loss.flat().length;
}

test("a plane that was killed goes on, and ends at the same bytes; its file is whole at every moment", async () => {
  const whole = await analyze(...FILE, "whole.json", "--json", "-q", "--svg", "whole.svg");
  expect([whole.status, whole.stderr]).toEqual([0, ""]);
  const { settings, ...rest } = await Bun.file(folder.at("whole.json")).json();
  expect(rest).toEqual(JSON.parse(whole.stdout));
  expect(settings).toMatchObject({ MODEL: STORIES, "--at": ["one", "two", "three"], "--grid": GRID });

  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    const before = await pointsIn("part.json");
    const child = start(...FILE, "part.json", "--resume");
    while ((await pointsIn("part.json")) <= before && child.exitCode === null) await Bun.sleep(5);
    child.kill(signal);
    await child.exited;
    const after = await pointsIn("part.json");
    expect(after).toBeGreaterThan(before);
    expect(after).toBeLessThan(GRID ** 2);
  }
  const known = await pointsIn("part.json");
  const refused = await analyze(...FILE, "part.json", "--resume", "--samples", "2");
  expect(refused).toMatchObject({ status: 2, stdout: "" });
  expect(refused.stderr).toContain("part.json: --samples 2: its points are of another plane, which had null\n");
  const done = await analyze(...FILE, "part.json", "--resume", "--json", "--svg", "part.svg");
  expect(done).toMatchObject({ status: 0, stdout: whole.stdout });
  expect(done.stderr).toContain(`${known} of ${GRID ** 2} points are in part.json already`);
  expect(await text("part.json")).toBe(await text("whole.json"));
  expect(await text("part.svg")).toBe(await text("whole.svg"));
});

test("points of other weights are refused, and stay as they are", async () => {
  const small = (...args: readonly string[]) => analyze(...ARGS, "--grid", "2", "--out", "small.json", ...args);
  expect((await small()).status).toBe(0);
  const bytes = await text("small.json");
  const exists = await small();
  expect(exists).toMatchObject({ status: 1, stderr: expect.stringContaining("small.json: it exists already") });

  const modules = { "model.layers.0.mlp.up_proj": [172, 64] } as const;
  await writeAdapter(folder.at("three"), { r: 4, alpha: 64, seed: 9, size: 0.1, modules });
  const others = await small("--resume");
  expect(others.stderr).toMatch(/error: small\.json: its corners have losses of .*, and now /);
  expect([others.status, await text("small.json")]).toEqual([3, bytes]);
  expect((await small("--force")).status).toBe(0);
  expect((await analyze(...ARGS, "--resume")).stderr).toContain("--resume needs --out FILE");
});

test("a file is replaced by a finished one only, and never where it is read", async () => {
  const small = (...args: readonly string[]) => analyze(...ARGS, "--grid", "2", ...args, "--force");
  await Bun.write(folder.at("kept.json"), "old");
  const child = start(...FILE, "kept.json", "--force");
  while ((await pointsIn("kept.json.unfinished")) === 0 && child.exitCode === null) await Bun.sleep(5);
  child.kill("SIGKILL");
  await child.exited;
  expect(await text("kept.json")).toBe("old");
  const nothing = await small("--out", "kept.json", "--data", "none.jsonl");
  expect([nothing.status, await text("kept.json")]).toEqual([1, "old"]);
  expect(await small("--out", "kept.json")).toMatchObject({ status: 0 });
  expect(await pointsIn("kept.json")).toBe(4);

  const data = await text("data.jsonl");
  for (const output of ["--out", "--svg"]) {
    const { status, stderr } = await small(output, "data.jsonl");
    expect([status, stderr]).toEqual([1, expect.stringContaining("it is the input data.jsonl")]);
    const config = await small(output, "one/adapter_config.json");
    expect([config.status, config.stderr]).toEqual([1, expect.stringContaining("it is a file of the input one")]);
  }
  expect(await text("data.jsonl")).toBe(data);
});
