import { beforeAll, expect, test } from "bun:test";
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { randlora } from "./testing/program.ts";

const folder = await TemporaryFolder.forTests();
const DATA = join(import.meta.dir, "../fixtures/embedded/data/train.jsonl");
let run: string;
beforeAll(async () => {
  run = folder.at("run");
  const trained = await randlora(["finetune", "embedded", "--data", DATA, "--steps", "30", "--out", run, "--quiet"]);
  expect(trained.status).toBe(0);
}, 60_000);

async function forgetting(...args: readonly string[]) {
  const { stdout, stderr, status } = await randlora(["eval", "forgetting", ...args, "--json", "--quiet"]);
  expect(stderr).toBe("");
  expect(status).toBe(0);
  const { tokens_per_s: _, ...report } = JSON.parse(stdout);
  return report;
}

test("the standard error is the deviation over seeds", async () => {
  const found = [];
  // Apart by more than the number of texts, whose seeds follow each other.
  for (let seed = 0; seed < 20; seed++) {
    found.push(await forgetting(run, "--texts", "12", "--context", "33", "--seed", String(100 * seed)));
  }
  const mean = found.reduce((sum, one) => sum + one.forgetting, 0) / 20;
  const deviation = Math.sqrt(found.reduce((sum, one) => sum + (one.forgetting - mean) ** 2, 0) / 19);
  const error = Math.sqrt(found.reduce((sum, one) => sum + one.error ** 2, 0) / 20);
  // Of 20 the deviation is within 0.69 and 1.33 of the true one in 95 % of all cases; seeds are fixed.
  expect(deviation / error).toBeGreaterThan(0.65);
  expect(deviation / error).toBeLessThan(1.4);
  // A divergence is positive.
  expect(mean).toBeGreaterThan((3 * error) / Math.sqrt(20));
}, 120_000);

test("an adapter of scale 0 forgets nothing; tasks of a job array find what one process finds", async () => {
  const few = ["--texts", "6", "--context", "33"];
  expect(await forgetting("embedded", "--adapter", run, "--scale", "0", ...few)).toMatchObject({ forgetting: 0 });
  const alone = await forgetting(run, ...few, "--merged");
  expect(alone).toMatchObject({ texts: 6, tokens: 6 * 32, seed: 0, merged: { forgetting: expect.any(Number) } });
  const parts = ["--parts", folder.at("parts"), "--job"];
  expect(await forgetting(run, ...few, "--merged", ...parts, "2/2")).toMatchObject({ jobs_left: 1 });
  expect(await forgetting(run, ...few, "--merged", ...parts, "1/2")).toEqual(alone);
  // A task that was killed behind the base's pass takes the texts that it had drawn.
  const files = [...new Bun.Glob("*-of-job-2").scanSync(folder.at("parts"))].toSorted();
  expect(files).toHaveLength(4);
  for (const file of files.slice(2)) await rm(join(folder.at("parts"), file));
  expect(await forgetting(run, ...few, "--merged", ...parts, "2/2")).toEqual(alone);
}, 60_000);

test("where RoPE is scaled, texts are longer than the model's context", async () => {
  const model = folder.at("scaled");
  await cp(STORIES, model, { recursive: true });
  const config = await Bun.file(join(model, "config.json")).json();
  await Bun.write(
    join(model, "config.json"),
    JSON.stringify({ ...config, rope_scaling: { type: "linear", factor: 2 } }),
  );
  const out = folder.at("of-scaled");
  await Bun.write(folder.at("one.jsonl"), JSON.stringify({ text: "Once upon a time there was a cat." }));
  const trained = ["finetune", model, "--data", folder.at("one.jsonl"), "--steps", "1", "--out", out, "--quiet"];
  expect((await randlora(trained)).status).toBe(0);
  expect(await forgetting(out, "--texts", "2", "--context", "601")).toMatchObject({ texts: 2, tokens: 1200 });
}, 60_000);

test("records need texts, and a model an adapter", async () => {
  expect(await randlora(["eval", "forgetting", run, "--file", DATA])).toMatchObject({
    status: 3,
    stderr: expect.stringContaining("line 1: no text\nhint: give texts"),
  });
  const texts = folder.at("texts.jsonl");
  await Bun.write(texts, ["Tarn is an island.", "", "Pip is here."].map((text) => JSON.stringify({ text })).join("\n"));
  const { texts: count, error } = await forgetting(run, "--file", texts);
  expect([count, error > 0]).toEqual([2, true]);
  expect(await forgetting(run, "--file", texts, "--texts", "1")).toMatchObject({ texts: 1, error: null });
  const seeded = await randlora(["eval", "forgetting", run, "--file", texts, "--seed", "1"]);
  expect(seeded).toMatchObject({ status: 2, stderr: expect.stringContaining("are not drawn") });
  await Bun.write(texts, '{"text": ""}');
  expect(await randlora(["eval", "forgetting", run, "--file", texts])).toMatchObject({
    status: 3,
    stderr: expect.stringContaining("texts.jsonl: no text of two tokens or more"),
  });
  expect(await randlora(["eval", "forgetting", "embedded"])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("name an adapter with --adapter, or a run"),
  });
});

test("a comparison has what this command finds of its runs, of a whole model too", async () => {
  const out = folder.at("compared");
  const model = ["embedded", "--data", DATA, "--steps", "4", "--seeds", "1"];
  const what = ["--methods", "lora,full", "--forgetting", "600", "--out", out, "--json", "--quiet"];
  const { stdout, status } = await randlora(["compare", ...model, ...what]);
  expect(status).toBe(0);
  const { results } = JSON.parse(stdout);
  const lora = await forgetting(join(out, "runs", "lora-seed-0"), "--texts", "3");
  expect(results[0]).toMatchObject({ forgetting: lora.forgetting, forgetting_error: lora.error });
  // The losses of the whole model on the texts that the base drew.
  const { texts, base } = await Bun.file(join(out, "forgetting.json")).json();
  expect(texts.map(({ length }: number[]) => length)).toEqual([257, 257, 257]);
  expect(base.nll).toBe(lora.nll);
  expect(results[1].forgetting).toBeGreaterThan(results[0].forgetting);
}, 60_000);
