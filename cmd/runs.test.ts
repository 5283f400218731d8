import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, rm, symlink } from "node:fs/promises";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { holdElsewhere } from "../src/files/testing/lock.ts";
import { FinetuneFolder, LORA } from "./testing/finetune.ts";

const place = await FinetuneFolder.forTests();

const randlora = (...args: readonly string[]) => place.randlora({}, ...args);

async function listed(...args: readonly string[]) {
  const { stdout, status } = await randlora("runs", "list", ...args, "--json");
  expect(status).toBe(0);
  return JSON.parse(stdout);
}

test("runs are listed with what they came to, and removed when that is meant", async () => {
  expect((await randlora("runs", "list")).stdout).toBe("no runs in .\n");
  const args = [STORIES, "--data", "data.jsonl", "--valid-split", "0.2", ...LORA, "--epochs", "1", "--quiet"];
  const trained = await randlora("finetune", ...args, "--save-every", "1", "--keep", "2", "--json");
  const { best_step: best } = JSON.parse(trained.stdout);
  const run = "runs/storyteller-lora-1";
  const metrics = (await Bun.file(place.at(run, "metrics.jsonl")).text()).split("\n");
  const lines = metrics.filter(Boolean).map((line) => JSON.parse(line));
  const loss = lines.find((line) => line.step === best && "valid_loss" in line).valid_loss;
  const done = {
    run,
    model: STORIES,
    method: "lora",
    state: "done",
    steps: 2,
    planned_steps: 2,
    best_valid_loss: expect.any(Number),
    bytes: expect.any(Number),
    updated: expect.stringMatching(/^20\d\d-/),
  };
  expect(await listed()).toEqual({ folder: ".", runs: [done] });
  expect((await listed("runs")).runs[0].best_valid_loss).toBe(loss);

  // One whose last state is gone was cut off there; one below a comparison's folder; one that is trained.
  await cp(place.at(run), place.at("cut"), { recursive: true });
  await rm(place.at("cut", "state", "step-2"), { recursive: true });
  await cp(place.at(run), place.at("comparison", "runs", "a"), { recursive: true });
  await rm(place.at("comparison", "runs", "a", "state"), { recursive: true });
  await rm(place.at("comparison", "runs", "a", "metrics.jsonl"));
  if (process.platform !== "win32") Bun.spawnSync(["mkfifo", place.at("comparison", "runs", "a", "metrics.jsonl")]);
  await symlink(place.at(run), place.at("linked"));
  await symlink(place.at(), place.at("comparison", "runs", "a", "state"));
  const holder = await holdElsewhere(place.at(run, "lock.OWNER"), "file");
  const { runs } = await listed();
  expect(runs).toEqual([
    { ...done, run: "comparison/runs/a", state: "interrupted", steps: 0, planned_steps: null, best_valid_loss: null },
    { ...done, run: "cut", state: "interrupted", steps: 1 },
    { ...done, state: "running" },
  ]);
  // Without what the link leads to, which has itself in it.
  expect(runs[0].bytes).toBeGreaterThan(0);
  expect(runs[0].bytes).toBeLessThan(runs[2].bytes);
  const table = (await randlora("runs", "list")).stdout;
  expect(table).toMatch(/^run +model +method +steps +valid loss +state +size +written\n/);
  expect(table).toMatch(/\ncut +\S.* +lora +1 of 2 +\d+\.\d{4} +interrupted +[\d.]+ [kM]B +\d+ s ago\n/);

  const refused = async (...words: readonly string[]) => {
    const { status, stdout, stderr } = await randlora("runs", "rm", ...words);
    expect(stdout).toBe("");
    return [status, stderr];
  };
  const held = `process ${holder.pid} trains into it\nhint: wait for it, or end it\n`;
  expect(await refused(run, "--yes")).toEqual([1, expect.stringContaining(held)]);
  await holder.kill();
  expect(await refused(run)).toEqual([2, expect.stringMatching(/2 of 2 steps of lora, .* not removed\nhint: --yes/)]);
  for (const mine of ["notes.txt", "notes.tmp", "lock.json", "adapter.zip.part"]) {
    await Bun.write(place.at(run, mine), "mine");
    expect(await refused(run, "--yes")).toEqual([1, expect.stringContaining(`it holds ${mine}, which no run writes`)]);
    await rm(place.at(run, mine));
  }
  for (const left of ["run.json.part", "loss.svg.0a1b2c3d.tmp", "best.0a1b2c3d-7-8.old.part"]) {
    await Bun.write(place.at(run, left), "");
  }
  await mkdir(place.at("no-run"));
  await Bun.write(place.at("no-run", "run.json"), "{}");
  for (const other of ["no-run", "none", "linked", "data.jsonl"]) {
    expect(await refused(other, "--yes")).toEqual([1, expect.stringContaining(`${other}: not a run`)]);
  }
  const before = (await listed()).runs.find(({ run: path }: { run: string }) => path === run);
  const removed = await randlora("runs", "rm", run, "--yes", "--json");
  expect(JSON.parse(removed.stdout)).toEqual({ run, bytes: before.bytes });
  expect([existsSync(place.at(run)), await readdir(place.at("runs"))]).toEqual([false, []]);
  expect((await randlora("runs", "rm", "cut", "--yes")).stdout).toMatch(/^removed cut: [\d.]+ [kM]B\n$/);
});
