import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { cp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { EVENT_FILE } from "../src/files/event-file.ts";
import { readEvents } from "../src/files/testing/event-file.ts";
import { FinetuneFolder, LORA } from "./testing/finetune.ts";

const place = await FinetuneFolder.forTests();
beforeAll(() => Bun.write(place.at("broken.jsonl"), '{"text": "a"}\n{"text": \n'));

/** Runs `randlora finetune` in the folder of the data. */
async function finetune(...args: readonly string[]) {
  return await place.run({}, ...args);
}

describe("a run", () => {
  test("writes settings, metrics, adapter, state and plot, and says what to type next", async () => {
    const run = await finetune(STORIES, "--data", "data.jsonl", "--valid-split", "0.2", ...LORA, "--epochs", "2");
    expect([run.status, run.stderr.split("\n").filter((line) => /warning|error/.test(line))]).toEqual([0, []]);
    expect(run.stderr).toContain("4 steps, 2 epochs");
    expect(run.stderr).toContain("step 4: validation loss");
    expect(run.stdout).toStartWith("loss by step, ● validation\n");
    expect(run.stdout).toEndWith("next: randlora chat runs/storyteller-lora-1\n");
    const path = place.at("runs", "storyteller-lora-1");
    expect((await readdir(path)).toSorted()).toEqual(
      expect.arrayContaining(["adapter", "best", "loss.svg", "metrics.csv", "metrics.jsonl", "run.json", "state"]),
    );
    const metrics: object[] = (await Bun.file(join(path, "metrics.jsonl")).text())
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(metrics.filter((one) => "valid_loss" in one)).toHaveLength(5);
    expect(metrics.filter((one) => "loss" in one)).toEqual(
      [1, 2, 3, 4].map((step) => expect.objectContaining({ step, tokens: expect.any(Number) })),
    );
    expect(await Bun.file(join(path, "run.json")).json()).toMatchObject({
      model: STORIES,
      method: "lora",
      data: place.at("data.jsonl"),
      valid_split: 0.2,
      epochs: 2,
      adapter: { rank: 8, alpha: 16, targets: ["q_proj"] },
    });
  });

  test("answers one JSON object, and goes on from where it was", async () => {
    const args = ["--data", "data.jsonl", ...LORA, "--schedule", "constant", "--out", "mine", "--json", "--quiet"];
    const first = await finetune(STORIES, ...args, "--steps", "3");
    expect([first.status, first.stderr]).toEqual([0, ""]);
    const found = JSON.parse(first.stdout);
    expect(found).toMatchObject({ run: place.at("mine"), ending: "finished", steps: 3, valid_loss: null });
    expect(found.peak_gpu_bytes).toBeGreaterThan(0);
    const more = await finetune("--resume", "mine", "--steps", "5", "--json", "--quiet");
    expect(JSON.parse(more.stdout)).toMatchObject({ run: place.at("mine"), steps: 5 });
    // The configuration file of a run names its folder.
    const env = { RANDLORA_OUT: "mine" };
    for (const resume of [["--resume"], ["--resume", place.at("mine")]]) {
      const same = await place.run(env, ...resume, "--json", "--quiet");
      expect(JSON.parse(same.stdout)).toMatchObject({ run: place.at("mine"), steps: 5 });
    }
    const weaker = await place.run(env, "--resume", "theirs");
    expect([weaker.status, weaker.stderr]).toEqual([
      1,
      expect.stringMatching(/^RANDLORA_OUT is ignored: --resume was given\nerror: theirs: no run\.json/),
    ]);
    const elsewhere = await finetune("--resume", "theirs", "--out", "mine");
    expect([elsewhere.status, elsewhere.stderr]).toEqual([
      2,
      expect.stringContaining("goes on where it is, not in mine"),
    ]);
    const other = await finetune("--resume", "mine", "--rank", "4");
    expect([other.status, other.stderr]).toEqual([2, expect.stringContaining("--rank 4: the run cannot be resumed")]);
  });
});

test("--log-dir has each step once, whatever was resumed, and is not mixed with another run's", async () => {
  const args = [STORIES, "--data", "data.jsonl", ...LORA, "--schedule", "constant", "--quiet"];
  const logged = [...args, "--steps", "2", "--log-dir", "events"];
  expect((await finetune(...logged, "--out", "logged")).status).toBe(0);
  const file = place.at("events", EVENT_FILE);
  const steps = async () => (await readEvents(file)).map(({ step }) => step);
  expect(await steps()).toEqual([0, 1, 2]);
  expect((await finetune("--resume", "logged", "--steps", "3", "--quiet")).status).toBe(0);
  expect(await steps()).toEqual([0, 1, 2, 3]);
  const other = await finetune(...logged, "--out", "mixed");
  expect([other.status, other.stderr]).toEqual([1, expect.stringContaining("there are events of another run")]);
  expect(existsSync(place.at("mixed"))).toBe(false);
  // A run from elsewhere does not say where a file is made.
  await rm(file);
  const gone = await finetune("--resume", "logged", "--steps", "4", "--quiet");
  expect([gone.status, gone.stderr, existsSync(file)]).toEqual([
    0,
    expect.stringContaining("is gone: --log-dir"),
    false,
  ]);
  expect((await finetune("--resume", "logged", "--log-dir", "elsewhere", "--steps", "5", "--quiet")).status).toBe(0);
  const events = await readEvents(place.at("elsewhere", EVENT_FILE));
  expect(events.map(({ step }) => step)).toEqual([0, 1, 2, 3, 4, 5]);
  const table = (await Bun.file(place.at("logged", "metrics.csv")).text()).trimEnd().split("\n");
  const losses = table.slice(1).map((row) => Math.fround(Number(row.split(",")[1])));
  expect(events.slice(1).map(({ scalars }) => scalars["train/loss"])).toEqual(losses);
});

test("a base or data that are bad leave no run; a resumed one is recorded once it goes on", async () => {
  const model = place.at("nan");
  await cp(STORIES, model, { recursive: true });
  const weights = join(model, "model.safetensors");
  const bytes = new Uint8Array(await Bun.file(weights).arrayBuffer());
  await Bun.write(weights, bytes.fill(0xff, bytes.length - 4096));
  const bad = await finetune(model, "--data", "data.jsonl", ...LORA, "--out", "bad/run");
  expect([bad.status, bad.stderr]).toEqual([1, expect.stringContaining("the model holds NaN")]);
  expect(existsSync(place.at("bad"))).toBe(false);

  const data = place.at("changing.jsonl");
  await cp(place.at("data.jsonl"), data);
  const args = ["--data", data, ...LORA, "--schedule", "constant", "--steps", "1", "--out", "resumed", "--quiet"];
  expect((await finetune(STORIES, ...args)).status).toBe(0);
  const settings = place.at("resumed", "run.json");
  const before = await Bun.file(settings).text();
  await Bun.write(data, '{"text": "other"}\n');
  const refused = await finetune("--resume", "resumed", "--steps", "2", "--quiet");
  expect([refused.status, refused.stderr]).toEqual([
    3,
    expect.stringContaining("not the data that the run began with"),
  ]);
  expect(await Bun.file(settings).text()).toBe(before);
  await cp(place.at("data.jsonl"), data);
  expect((await finetune("--resume", "resumed", "--steps", "2", "--quiet")).status).toBe(0);
  expect(await Bun.file(settings).json()).toMatchObject({ steps: 2 });
  await rm(place.at("resumed", "state"), { recursive: true });
  const anew = await finetune("--resume", "resumed");
  expect([anew.status, anew.stderr]).toEqual([
    0,
    expect.stringContaining("resumed: no step was saved yet, it begins again"),
  ]);
});

describe("--dry-run", () => {
  test("shows samples with what is supervised, counts, parameters and memory, and writes nothing", async () => {
    const run = await finetune(STORIES, "--data", "data.jsonl", "--max-length", "14", "--out", "dry", "--dry-run");
    expect([run.status, run.stderr]).toEqual([0, ""]);
    expect(run.stdout).toContain("sample 1 (line, element or row 1): 14 tokens");
    expect(run.stdout).toMatch(/⟦.*he said.*⟧/);
    expect(run.stdout).toContain("data.jsonl: 10 of 10 samples were cut to the maximum length");
    expect(run.stdout).toMatch(/model\.layers\.\*\.self_attn\.q_proj +5 +64 × 64/);
    expect(run.stdout).toMatch(/method +randlora, rank 32, learning rate 0\.0001\n/);
    expect(run.stdout).toMatch(/device memory +about [\d.]+ MB/);
    expect(run.stdout).toMatch(/disk +about [\d.]+ [kM]B/);
    const refused = await finetune(STORIES, "--data", "data.jsonl", "--memory", "1MB", "--dry-run");
    expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("and --memory allows 1 MB")]);
    expect(existsSync(place.at("dry"))).toBe(false);
  });

  test("says where KRAdapter has no use for a rank", async () => {
    const asked = async (rank: string) => {
      const args = ["--method", "kradapter", "--rank", rank, "--targets", "q_proj", "--dry-run"];
      return (await finetune(STORIES, "--data", "data.jsonl", ...args)).stdout;
    };
    const note = "KRAdapter's rank 9 is more than √ of a layer's longer side: it trains what rank 8 does";
    expect([await asked("8"), await asked("9")]).toEqual([
      expect.not.stringContaining("longer side"),
      expect.stringContaining(note),
    ]);
  });

  test("as JSON", async () => {
    const run = await finetune(STORIES, "--data", "data.jsonl", "--method", "full", "--dry-run", "--json");
    expect(JSON.parse(run.stdout)).toMatchObject({
      trainable_parameters: 260_032,
      samples: 10,
      steps: 3,
      cut_samples: 0,
      dropped_samples: 0,
      estimated_gpu_bytes: expect.any(Number),
      estimated_disk_bytes: expect.any(Number),
    });
    // Three steps leave one state, however many may be kept.
    const kept = await finetune(
      STORIES,
      "--data",
      "data.jsonl",
      "--method",
      "full",
      "--dry-run",
      "--json",
      "--keep=20",
      "--save-every=100",
    );
    expect(JSON.parse(kept.stdout).estimated_disk_bytes).toBe(JSON.parse(run.stdout).estimated_disk_bytes);
  });
});

const REFUSED: readonly (readonly [args: readonly string[], status: number, message: string])[] = [
  [["--data", "data.jsonl", "--sparse", "--very-sparse"], 2, "--sparse and --very-sparse"],
  [["--data", "data.jsonl", "--layers", "3-1"], 2, "--layers 3-1: 3-1 is no layer or range"],
  [["--data", "data.jsonl", "--basis-seed", "18446744073709551616"], 2, "not a whole number of 64 bits"],
  [["--data", "data.jsonl", "--method", "none"], 2, `--method: "none" is not one of randlora, `],
  [["--data", "data.jsonl", "--variant", "none"], 2, `--variant: "none" is not one of peft, paper`],
  [["--data", "data.jsonl", "--method", "vera", "--alpha", "3"], 2, "--alpha has no meaning with --method vera"],
  [["--data", "data.jsonl", "--method", "pranc", "--rank", "1"], 2, "--rank 1 has no meaning where whole networks"],
  [["--data", "data.jsonl", "--bases", "8"], 2, "--bases has no meaning with --method randlora"],
  [["--data", "data.jsonl", "--lora-rank", "8"], 2, "--lora-rank has no meaning with --method randlora"],
  [["--data", "data.jsonl", "--quantize", "q5"], 2, '"q5" is not one of q8, q4'],
  [["--data", "data.jsonl", "--steps", "2", "--epochs", "1"], 2, "--steps and --epochs"],
  [["--data", "data.jsonl", "--early-stop", "2"], 2, "--early-stop needs validation data"],
  [["--data", "data.jsonl", "--targets", "nothing"], 2, "nothing"],
  [["--data", "data.jsonl", "--rank", "600000"], 2, "--rank 600000: the largest adapted layer is 64 × 64"],
  [["--data", "broken.jsonl"], 3, "broken.jsonl: line 2: not JSON"],
  [["--data", "data.jsonl", "--valid", "data.jsonl"], 3, "is the training file"],
  [["--data", "none.jsonl"], 1, "no such file"],
  [["--data", "data.jsonl", "--device", "none"], 1, "--device none: no such GPU"],
  [[], 2, "--data is missing"],
];

test("--profile tells where the time went", async () => {
  const args = ["--data", "data.jsonl", ...LORA, "--steps", "2", "--profile", "--out", "profiled"];
  const { stdout } = await finetune(STORIES, ...args, "--json");
  const { profile } = JSON.parse(stdout);
  expect(profile.length).toBeGreaterThan(3);
  expect(profile[0]).toEqual({ kernel: expect.any(String), calls: expect.any(Number), seconds: expect.any(Number) });
});

test("the embedded run takes a method's own learning rate where that is larger, and its rank by the model", async () => {
  const args = ["--method", "vera", "--steps", "1", "--d-initial", "0.2", "--out", "embedded-run"];
  const { status, stderr } = await finetune(...args);
  expect([status, stderr]).toEqual([0, expect.stringContaining("step 1")]);
  expect(await Bun.file(place.at("embedded-run", "run.json")).json()).toMatchObject({
    learning_rate: 1e-2,
    adapter: { rank: 128, d_initial: 0.2, generator: "torch-mt19937-f32" },
  });
});

test("who names the embedded model without data is told how it is trained on its own", async () => {
  const { status, stderr } = await finetune("embedded", "--out", "refused");
  expect([status, stderr]).toEqual([2, expect.stringContaining("without MODEL the embedded model is trained")]);
  const own = await finetune("embedded", "--data", "data.jsonl", "--dry-run");
  expect([own.status, own.stderr]).toEqual([0, expect.stringContaining("for other data name another model")]);
});

test("a mistyped MODEL is named before the data that are missing; a run in its place is told its base", async () => {
  const mistyped = await finetune("embeded");
  expect([mistyped.status, mistyped.stderr]).toEqual([1, expect.stringContaining("did you mean embedded?")]);
  await Bun.write(place.at("a-run", "run.json"), JSON.stringify({ model: "org/base" }));
  const { status, stderr } = await finetune(place.at("a-run"), "--data", "data.jsonl");
  expect([status, stderr]).toEqual([
    1,
    expect.stringContaining("it is a run: name org/base as MODEL; finetune goes on from the run with --init-adapter"),
  ]);
});

test("what cannot be is refused before anything is written", async () => {
  const runs = await Promise.all(REFUSED.map(([args]) => finetune(STORIES, ...args, "--out", "refused")));
  expect(runs.map(({ status, stderr }) => [status, stderr])).toEqual(
    REFUSED.map(([, status, message]) => [status, expect.stringContaining(message)]),
  );
  expect(existsSync(place.at("refused"))).toBe(false);
});
