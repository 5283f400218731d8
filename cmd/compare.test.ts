import { beforeAll, describe, expect, test } from "bun:test";
import { appendFile, cp, readdir, readFile, rm } from "node:fs/promises";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { outcomeOf } from "../src/train/testing/runs.ts";
import { type Answer, compareFolder, DATA, NAMES, parse, SHORT, timeless } from "./testing/compare.ts";
import { randlora } from "./testing/program.ts";

const folder = await compareFolder();
const at = folder.at.bind(folder);
const compare = (...args: readonly string[]) => randlora(["compare", ...args], { cwd: folder.path });

let whole: Answer;
beforeAll(async () => {
  const run = await compare(...SHORT, "--out", "whole", "--json");
  expect([run.status, run.stderr.split("\n").filter((line) => /warning|error/.test(line))]).toEqual([0, []]);
  whole = parse(run.stdout);
});

describe("a comparison", () => {
  test("makes ordinary runs, and says what came of them", async () => {
    expect(whole).toMatchObject({ out: at("whole"), ending: "finished", budgets: [4000], seeds: 2 });
    expect(whole.results.map(({ method, seed }) => `${method}-seed-${seed}`)).toEqual([...NAMES]);
    for (const [index, name] of NAMES.entries()) {
      const lines = (await readFile(at("whole", "runs", name, "metrics.jsonl"), "utf8")).trimEnd().split("\n");
      const metrics: Record<string, number>[] = lines.map((line) => JSON.parse(line));
      const losses = metrics.flatMap(({ loss }) => loss ?? []);
      const valid = metrics.flatMap(({ valid_loss: loss }) => loss ?? []);
      // The last quarter of 5 steps are 2.
      expect(whole.results[index]).toMatchObject({
        loss: ((losses[3] ?? NaN) + (losses[4] ?? NaN)) / 2,
        valid_loss: valid.at(-1) ?? NaN,
        best_valid_loss: Math.min(...valid),
        accuracy: null,
        steps: 5,
        error: null,
      });
      const run = await Bun.file(at("whole", "runs", name, "run.json")).json();
      expect(run).toMatchObject({ seed: index < 2 ? 3 : 4, learning_rate: index % 2 === 0 ? 1e-3 : 5e-3, steps: 5 });
    }
    // q (64, 64) and v (32, 64) of five layers: LoRA of rank r trains 5 · r · (128 + 96).
    expect(whole.methods.map(({ parameters }) => parameters)).toEqual([expect.any(Number), 4 * 5 * 224]);
    expect(whole.methods[1]).toMatchObject({ rank: 4, learning_rate: 5e-3, runs: 2, distance: (4480 - 4000) / 4000 });
    expect((await readdir(at("whole"))).toSorted()).toEqual([
      "README.md",
      "compare.json",
      "forgetting.json",
      "forgetting.svg",
      "loss.svg",
      "parameters.svg",
      "runs",
    ]);
    const page = await readFile(at("whole", "README.md"), "utf8");
    expect(page).toContain("| lora+rslora | rank 4 |");
    expect(page).toContain("| forgetting | s.e. |");
    for (const { forgetting, forgetting_error: error } of whole.results) {
      expect([typeof forgetting, typeof error]).toEqual(["number", "number"]);
    }
    expect(page).toMatch(/\n- (winner: |no winner: )/);
  });

  test("is shown again without another step, with the plot, and goes on with more seeds", async () => {
    await cp(at("whole"), at("more"), { recursive: true });
    const again = await compare("--resume", "more");
    expect(again.stderr).toBe("");
    expect(again.stdout).toStartWith("loss by step, mean over the seeds\n");
    expect(again.stdout).toMatch(/\nA randlora {3}B lora\+rslora\n/);
    expect(again.stdout).toMatch(/\nlora\+rslora +rank 4 +0\.005 +4\.48 K +\+12 % +\d\.\d{4} ± \d\.\d{4} /);
    // A run whose forgetting could not be measured is measured now.
    const record = JSON.parse(await readFile(at("more", "compare.json"), "utf8"));
    record.results[1] = { ...record.results[1], forgetting: null, forgetting_error: null };
    await Bun.write(at("more", "compare.json"), JSON.stringify(record));
    const more = await compare("--resume", "more", "--seeds", "3", "--json", "--quiet");
    expect([more.status, more.stderr]).toEqual([0, ""]);
    const found = parse(more.stdout);
    expect(timeless(found).slice(0, 4)).toEqual(timeless(whole));
    expect(found.results.slice(4).map(({ method, seed }) => `${method} ${seed}`)).toEqual([
      "randlora 5",
      "lora+rslora 5",
    ]);
  });

  test("has the losses of finetune with the same settings", async () => {
    const data = ["--data", "train.jsonl", "--valid", "valid.jsonl", "--targets", "q_proj,v_proj"];
    const size = ["--method", "lora", "--rslora", "--rank", "4", "--seed", "4", "--steps", "5", "--batch-size", "2"];
    const more = ["--save-every", "2", "--eval-every", "3", "--learning-rate", "5e-3", "--out", "alone", "--quiet"];
    const run = await randlora(["finetune", STORIES, ...data, ...size, ...more], { cwd: folder.path });
    expect([run.status, run.stderr]).toEqual([0, ""]);
    const { "loss.svg": _, ...alone } = await outcomeOf(at("alone"));
    expect(alone).toEqual(await outcomeOf(at("whole", "runs", "lora+rslora-seed-4")));
  });
});

test("--dry-run shows methods, sizes, learning rates, memory and runs, writes nothing, and refuses what runs would", async () => {
  const before = await readdir(folder.path);
  const { status, stdout } = await compare(...SHORT, "--out", "dry", "--dry-run", "--json");
  expect(status).toBe(0);
  const plan = JSON.parse(stdout);
  expect(plan).toMatchObject({ dry_run: true, runs: 4 });
  const planned = whole.methods.map(({ method, parameters, learning_rate }) => {
    return { method, budget: 4000, parameters, learning_rate, steps: 5 };
  });
  const sorted = (rows: { method: string }[]) => rows.toSorted((a, b) => (a.method < b.method ? -1 : 1));
  expect(sorted(plan.contenders)).toMatchObject(sorted(planned));
  for (const { estimated_disk_bytes: bytes } of plan.contenders) expect(bytes).toBeGreaterThan(4000 * 4);
  expect(await readdir(folder.path)).toEqual(before);
  const { stdout: table } = await compare(...SHORT, "--dry-run");
  expect(table).toMatch(/^lora\+rslora +4,?000 +4,?480 +0\.005 +5 /m);
  const taken = await compare(...SHORT, "--out", "whole", "--dry-run");
  expect([taken.status, taken.stderr]).toEqual([1, expect.stringContaining("there is a comparison already")]);
  const full = await compare(...SHORT, "--memory", "1MB", "--dry-run");
  expect([full.status, full.stderr]).toEqual([expect.any(Number), expect.stringContaining("error: randlora: ")]);
  expect((await compare("--resume", "whole", "--dry-run")).status).toBe(2);
});

test("folders that are no new ones, and a comparison that is not what it was, are refused", async () => {
  await Bun.write(at("filled", "mine.txt"), "mine");
  await cp(at("whole"), at("changed"), { recursive: true });
  await appendFile(at("changed", "runs", NAMES[1], "metrics.jsonl"), '{"step":5,"valid_loss":0.001}\n');
  await cp(at("whole"), at("other"), { recursive: true });
  const run = at("other", "runs", NAMES[0], "run.json");
  await Bun.write(run, (await readFile(run, "utf8")).replace('"weight_decay": 0', '"weight_decay": 0.5'));
  const text = await readFile(at("whole", "compare.json"), "utf8");
  // Of that run nothing is recorded: it would be gone on with.
  const record = JSON.parse(text);
  await Bun.write(at("other", "compare.json"), JSON.stringify({ ...record, results: record.results.slice(1) }));
  await Bun.write(at("broken", "compare.json"), text.slice(0, 100));
  const cases = [
    [[...DATA, "--out", "filled"], 1, "filled: the folder is not empty"],
    [[...DATA, "--out", "whole"], 1, "whole: there is a comparison already"],
    [[...DATA, "--out", "train.jsonl"], 1, "train.jsonl"],
    [DATA, 2, "--out is missing"],
    [["--resume"], 2, "no comparison is named\nhint: write --resume DIR, or --out DIR --resume"],
    [["--resume", "whole", "--out", "more"], 2, "--resume whole: a comparison goes on where it is, not in more"],
    [["--resume", "filled"], 1, "filled: no compare.json: not a comparison"],
    [["--resume", "changed"], 3, `${NAMES[1]}: its metrics.jsonl is not what the comparison recorded`],
    [["--resume", "other"], 3, `${NAMES[0]}: "weight_decay" of its run.json is not that of the comparison`],
    [["--resume", "broken"], 3, "compare.json: not JSON"],
    [["--resume", "whole", "--forgetting", "0"], 2, "--forgetting 0: the comparison cannot be resumed"],
    [["--resume", "whole", "--steps", "6"], 2, "--steps 6: the comparison cannot be resumed with another value"],
  ] as const;
  const found = await Promise.all(
    cases.map(async ([args, , message]) => {
      const { status, stderr } = await compare(...args);
      return [status, stderr.includes(message) ? message : stderr];
    }),
  );
  expect(found).toEqual(cases.map(([, status, message]) => [status, message]));
  expect(await readdir(at("filled"))).toEqual(["mine.txt"]);
});

test("a run whose folder is gone is made again; a method that diverges has no result, and the others go on", async () => {
  await cp(at("whole"), at("gone"), { recursive: true });
  await rm(at("gone", "runs", NAMES[2]), { recursive: true });
  const again = await compare("--resume", "gone", "--json");
  expect([again.status, again.stderr]).toEqual([
    0,
    expect.stringContaining(`${NAMES[2]} is gone: the run is made again`),
  ]);
  const { results } = parse(again.stdout);
  expect(
    timeless({ ...whole, results: results.toSorted((a, b) => a.seed - b.seed || (a.method < b.method ? 1 : -1)) }),
  ).toEqual(timeless(whole));

  const args = [
    ...DATA,
    "--methods",
    "lora,randlora",
    "--learning-rate",
    "lora=1e30",
    "--seeds",
    "1",
    "--params",
    "1K",
  ];
  const diverged = await compare(...args, "--steps", "3", "--out", "diverged", "--json");
  expect([diverged.status, diverged.stderr]).toEqual([
    0,
    expect.stringMatching(/warning: lora, budget 1.00 K, seed 0: step 2/),
  ]);
  expect(JSON.parse(diverged.stdout)).toMatchObject({
    results: [
      { method: "lora", loss: null, valid_loss: null, error: expect.stringContaining("step 2") },
      { method: "randlora", loss: expect.any(Number), error: null },
    ],
    winner: null,
  });
  const same = await compare("--resume", "diverged", "--json");
  expect([same.status, same.stderr, same.stdout]).toEqual([0, "", diverged.stdout]);
});

test("a run that fails is told with its reason, the others go on, the exit status says so, and it is made again", async () => {
  await cp(at("whole"), at("failed"), { recursive: true });
  const record = JSON.parse(await readFile(at("whole", "compare.json"), "utf8"));
  await Bun.write(at("failed", "compare.json"), JSON.stringify({ ...record, results: record.results.slice(0, 2) }));
  await rm(at("failed", "runs", NAMES[3]), { recursive: true });
  await Bun.write(at("failed", "runs", NAMES[2], "run.json"), "{}");
  const failed = await compare("--resume", "failed", "--json");
  expect([failed.status, failed.stderr]).toEqual([
    3,
    expect.stringMatching(/error: 1 run failed, randlora first: .*run/),
  ]);
  const { results } = JSON.parse(failed.stdout);
  expect(results).toMatchObject([
    ...whole.results.slice(0, 2),
    { method: "lora+rslora", seed: 4, loss: expect.any(Number), error: null },
    { method: "randlora", seed: 4, loss: null, error: expect.stringContaining("run.json") },
  ]);
  await rm(at("failed", "runs", NAMES[2]), { recursive: true });
  const last = await compare("--resume", "failed", "--json");
  expect(last.status).toBe(0);
  expect(parse(last.stdout).results).toHaveLength(4);
});
