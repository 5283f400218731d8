import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { cp, mkdtemp, readdir, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { cleanEnvironment } from "../src/options/testing/spawn.ts";

const SAMPLES = Array.from({ length: 10 }, (_, i) => ({
  prompt: `Once upon a time ${i}`,
  completion: " he said arr.",
}));

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-finetune-"));
  await Bun.write(join(folder, "data.jsonl"), SAMPLES.map((sample) => `${JSON.stringify(sample)}\n`).join(""));
  await Bun.write(join(folder, "broken.jsonl"), '{"text": "a"}\n{"text": \n');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs `randlora finetune` in the folder of the data. */
async function finetune(...args: readonly string[]) {
  return await finetuneWith({}, ...args);
}

async function finetuneWith(env: Readonly<Record<string, string>>, ...args: readonly string[]) {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "main.ts"), "finetune", ...args], {
    cwd: folder,
    env: { ...cleanEnvironment(), ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { status, stdout, stderr };
}

const LORA = ["--method", "lora", "--targets", "q_proj", "--learning-rate", "1e-2"] as const;

describe("a run", () => {
  test("writes settings, metrics, adapter, state and plot, and says what to type next", async () => {
    const run = await finetune(STORIES, "--data", "data.jsonl", "--valid-split", "0.2", ...LORA, "--epochs", "2");
    expect([run.status, run.stderr.split("\n").filter((line) => /warning|error/.test(line))]).toEqual([0, []]);
    expect(run.stderr).toContain("4 steps, 2 epochs");
    expect(run.stderr).toContain("step 4: validation loss");
    expect(run.stdout).toStartWith("loss by step, ● validation\n");
    expect(run.stdout).toEndWith("next: randlora chat runs/storyteller-lora-1\n");
    const path = join(folder, "runs", "storyteller-lora-1");
    expect((await readdir(path)).toSorted()).toEqual(
      expect.arrayContaining(["adapter", "best", "loss.svg", "metrics.jsonl", "run.json", "state"]),
    );
    const metrics: object[] = (await Bun.file(join(path, "metrics.jsonl")).text())
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(metrics.filter((one) => "valid_loss" in one)).toHaveLength(2);
    expect(metrics.filter((one) => "loss" in one)).toEqual(
      [1, 2, 3, 4].map((step) => expect.objectContaining({ step, tokens: expect.any(Number) })),
    );
    expect(await Bun.file(join(path, "run.json")).json()).toMatchObject({
      model: STORIES,
      method: "lora",
      data: join(folder, "data.jsonl"),
      valid_split: 0.2,
      epochs: 2,
      adapter: { rank: 8, alpha: 16, targets: ["q_proj"] },
    });
  }, 60_000);

  test("answers one JSON object, and goes on from where it was", async () => {
    const args = ["--data", "data.jsonl", ...LORA, "--schedule", "constant", "--out", "mine", "--json", "--quiet"];
    const first = await finetune(STORIES, ...args, "--steps", "3");
    expect([first.status, first.stderr]).toEqual([0, ""]);
    const found = JSON.parse(first.stdout);
    expect(found).toMatchObject({ run: join(folder, "mine"), ending: "finished", steps: 3, valid_loss: null });
    expect(found.peak_gpu_bytes).toBeGreaterThan(0);
    const more = await finetune("--resume", "mine", "--steps", "5", "--json", "--quiet");
    expect(JSON.parse(more.stdout)).toMatchObject({ run: join(folder, "mine"), steps: 5 });
    // The configuration file of a run names its folder.
    const env = { RANDLORA_OUT: "mine" };
    for (const resume of [["--resume"], ["--resume", join(folder, "mine")]]) {
      const same = await finetuneWith(env, ...resume, "--json", "--quiet");
      expect(JSON.parse(same.stdout)).toMatchObject({ run: join(folder, "mine"), steps: 5 });
    }
    const elsewhere = await finetuneWith(env, "--resume", "theirs");
    expect([elsewhere.status, elsewhere.stderr]).toEqual([
      2,
      expect.stringContaining("goes on where it is, not in mine"),
    ]);
    const other = await finetune("--resume", "mine", "--rank", "4");
    expect([other.status, other.stderr]).toEqual([2, expect.stringContaining("--rank 4: the run cannot be resumed")]);
  }, 60_000);
});

test("a model on the Hub is resumed at the commit with which the run began, whatever was pushed since", async () => {
  const repository = join(folder, "hf", "hub", "models--org--stories");
  const [old = "", pushed = ""] = ["a", "b"].map((digit) => digit.repeat(40));
  await cp(STORIES, join(repository, "snapshots", old), { recursive: true });
  await Bun.write(join(repository, "refs", "main"), old);
  const env = { HF_HOME: join(folder, "hf"), HF_HUB_OFFLINE: "1" };
  const args = ["--data", "data.jsonl", ...LORA, "--schedule", "constant", "--out", "hub", "--json", "--quiet"];
  const first = await finetuneWith(env, "org/stories", ...args, "--steps", "1");
  expect([first.status, first.stderr]).toEqual([0, ""]);
  expect(await Bun.file(join(folder, "hub", "run.json")).json()).toMatchObject({ model: "org/stories", commit: old });

  await cp(STORIES, join(repository, "snapshots", pushed), { recursive: true });
  await Bun.write(join(repository, "snapshots", pushed, "model.safetensors"), "other weights");
  await Bun.write(join(repository, "refs", "main"), pushed);
  const more = await finetuneWith(env, "org/stories", "--resume", "hub", "--steps", "2", "--json", "--quiet");
  expect([more.status, more.stderr]).toEqual([0, ""]);
  expect(JSON.parse(more.stdout)).toMatchObject({ steps: 2 });
}, 60_000);

test("a base or data that are bad leave no run; a resumed one is recorded once it goes on", async () => {
  const model = join(folder, "nan");
  await cp(STORIES, model, { recursive: true });
  const weights = join(model, "model.safetensors");
  const bytes = new Uint8Array(await Bun.file(weights).arrayBuffer());
  await Bun.write(weights, bytes.fill(0xff, bytes.length - 4096));
  const bad = await finetune(model, "--data", "data.jsonl", ...LORA, "--out", "bad/run");
  expect([bad.status, bad.stderr]).toEqual([1, expect.stringContaining("the model holds NaN")]);
  expect(existsSync(join(folder, "bad"))).toBe(false);

  const data = join(folder, "changing.jsonl");
  await cp(join(folder, "data.jsonl"), data);
  const args = ["--data", data, ...LORA, "--schedule", "constant", "--steps", "1", "--out", "resumed", "--quiet"];
  expect((await finetune(STORIES, ...args)).status).toBe(0);
  const settings = join(folder, "resumed", "run.json");
  const before = await Bun.file(settings).text();
  await Bun.write(data, '{"text": "other"}\n');
  const refused = await finetune("--resume", "resumed", "--steps", "2", "--quiet");
  expect([refused.status, refused.stderr]).toEqual([
    1,
    expect.stringContaining("not the data that the run began with"),
  ]);
  expect(await Bun.file(settings).text()).toBe(before);
  await cp(join(folder, "data.jsonl"), data);
  expect((await finetune("--resume", "resumed", "--steps", "2", "--quiet")).status).toBe(0);
  expect(await Bun.file(settings).json()).toMatchObject({ steps: 2 });
}, 60_000);

test("a template that writes a date is told the run's, on whatever day data are copied and the run is resumed", async () => {
  const model = join(folder, "dated");
  await cp(STORIES, model, { recursive: true });
  const template = "{{ strftime_now('%F') }}{% for m in messages %}{{ m.content }}{% endfor %}";
  await Bun.write(join(model, "chat_template.jinja"), template);
  const line = `${JSON.stringify({ messages: [{ role: "assistant", content: "once" }] })}\n`;
  for (const [file, lines] of [
    ["chats.jsonl", 4],
    ["valid.jsonl", 1],
  ] as const) {
    await Bun.write(join(folder, file), line.repeat(lines));
    await utimes(join(folder, file), new Date(), new Date(2001, 1, 3));
  }
  const args = ["--data", "chats.jsonl", "--valid", "valid.jsonl", ...LORA, "--schedule", "constant", "--out", "day"];
  const first = await finetune(model, ...args, "--steps", "1", "--quiet");
  expect([first.status, first.stderr]).toEqual([0, ""]);
  const { date } = await Bun.file(join(folder, "day", "run.json")).json();
  expect(Math.abs(new Date(date).getTime() - Date.now())).toBeLessThan(10 * 60_000);
  for (const file of ["chats.jsonl", "valid.jsonl"]) {
    await utimes(join(folder, file), new Date(), new Date(2007, 1, 3));
  }
  // On the other side of the earth, where it is another day for half of it.
  for (const [zone, steps] of [
    ["Pacific/Kiritimati", "2"],
    ["Pacific/Niue", "3"],
  ] as const) {
    const more = await finetuneWith({ TZ: zone }, "--resume", "day", "--steps", steps, "--quiet");
    expect([more.status, more.stderr]).toEqual([0, ""]);
  }
}, 60_000);

test("an adapter on the Hub to go on from is that of the run's beginning; once a state is saved it is not needed", async () => {
  const trained = await finetune(STORIES, "--data", "data.jsonl", ...LORA, "--steps", "1", "--out", "first", "--quiet");
  expect(trained.status).toBe(0);
  const repository = join(folder, "hf", "hub", "models--org--adapter");
  const [old = "", pushed = ""] = ["c", "d"].map((digit) => digit.repeat(40));
  await cp(join(folder, "first", "adapter"), join(repository, "snapshots", old), { recursive: true });
  await Bun.write(join(repository, "refs", "main"), old);
  const env = { HF_HOME: join(folder, "hf"), HF_HUB_OFFLINE: "1" };
  const args = ["--data", "data.jsonl", "--init-adapter", "org/adapter", "--out", "on", "--json", "--quiet"];
  const first = await finetuneWith(env, STORIES, ...args, "--schedule", "constant", "--steps", "1");
  expect([first.status, first.stderr]).toEqual([0, ""]);
  const run = await Bun.file(join(folder, "on", "run.json")).json();
  expect(run.adapter).toMatchObject({ init_adapter: "org/adapter", init_commit: old });

  // Pushed anew, and the run has no state yet.
  await cp(join(folder, "first", "adapter"), join(repository, "snapshots", pushed), { recursive: true });
  await Bun.write(join(repository, "snapshots", pushed, "adapter_model.safetensors"), "other weights");
  await Bun.write(join(repository, "refs", "main"), pushed);
  for (const made of ["state", "adapter"]) await rm(join(folder, "on", made), { recursive: true });
  const again = await finetuneWith(env, "--resume", "on", "--json", "--quiet");
  expect([again.status, again.stderr]).toEqual([0, ""]);
  expect(JSON.parse(again.stdout).loss).toBe(JSON.parse(first.stdout).loss);

  await rm(repository, { recursive: true });
  const more = await finetuneWith(env, "--resume", "on", "--steps", "2", "--json", "--quiet");
  expect([more.status, more.stderr]).toEqual([0, ""]);
  expect(JSON.parse(more.stdout)).toMatchObject({ steps: 2 });
}, 60_000);

describe("--dry-run", () => {
  test("shows samples with what is supervised, counts, parameters and memory, and writes nothing", async () => {
    const run = await finetune(STORIES, "--data", "data.jsonl", "--max-length", "14", "--out", "dry", "--dry-run");
    expect([run.status, run.stderr]).toEqual([0, ""]);
    expect(run.stdout).toContain("sample 1 (line or row 1): 14 tokens");
    expect(run.stdout).toMatch(/⟦.*he said.*⟧/);
    expect(run.stdout).toContain("data.jsonl: 10 of 10 samples were cut to the maximum length");
    expect(run.stdout).toMatch(/model\.layers\.\*\.self_attn\.q_proj +5 +64 × 64/);
    expect(run.stdout).toMatch(/GPU memory +about [\d.]+ MB/);
    expect(existsSync(join(folder, "dry"))).toBe(false);
  }, 60_000);

  test("as JSON", async () => {
    const run = await finetune(STORIES, "--data", "data.jsonl", "--method", "full", "--dry-run", "--json");
    expect(JSON.parse(run.stdout)).toMatchObject({
      trainable_parameters: 260_032,
      samples: 10,
      steps: 3,
      cut_samples: 0,
      dropped_samples: 0,
      estimated_gpu_bytes: expect.any(Number),
    });
  }, 60_000);
});

const REFUSED: readonly (readonly [args: readonly string[], status: number, message: string])[] = [
  [["--data", "data.jsonl", "--sparse", "--very-sparse"], 2, "--sparse and --very-sparse"],
  [["--data", "data.jsonl", "--layers", "3-1"], 2, "--layers 3-1: 3-1 is no layer or range"],
  [["--data", "data.jsonl", "--basis-seed", "18446744073709551616"], 2, "not a whole number of 64 bits"],
  [["--data", "data.jsonl", "--method", "none"], 2, `--method: "none" is not one of randlora, `],
  [["--data", "data.jsonl", "--variant", "none"], 2, `--variant: "none" is not one of peft, paper`],
  [["--data", "data.jsonl", "--method", "vera", "--alpha", "3"], 2, "--alpha has no meaning with --method vera"],
  [["--data", "data.jsonl", "--bases", "8"], 2, "--bases has no meaning with --method randlora"],
  [["--data", "data.jsonl", "--lora-rank", "8"], 2, "--lora-rank has no meaning with --method randlora"],
  [["--data", "data.jsonl", "--quantize", "q8"], 2, "unknown option '--quantize'"],
  [["--data", "data.jsonl", "--steps", "2", "--epochs", "1"], 2, "--steps and --epochs"],
  [["--data", "data.jsonl", "--early-stop", "2"], 2, "--early-stop needs validation data"],
  [["--data", "data.jsonl", "--targets", "nothing"], 2, "nothing"],
  [["--data", "broken.jsonl"], 1, "broken.jsonl: line 2: not JSON"],
  [["--data", "data.jsonl", "--valid", "data.jsonl"], 1, "is the training file"],
  [["--data", "none.jsonl"], 1, "no such file"],
  [["--data", "data.jsonl", "--gpu", "none"], 1, "--gpu none: no such GPU"],
  [[], 2, "--data is missing"],
];

test("--profile tells where the time went", async () => {
  const args = ["--data", "data.jsonl", ...LORA, "--steps", "2", "--profile", "--out", "profiled"];
  const { stdout } = await finetune(STORIES, ...args, "--json");
  const { profile } = JSON.parse(stdout);
  expect(profile.length).toBeGreaterThan(3);
  expect(profile[0]).toEqual({ kernel: expect.any(String), calls: expect.any(Number), seconds: expect.any(Number) });
}, 60_000);

test("the embedded run takes a method's own learning rate where that is larger, and its rank by the model", async () => {
  const args = ["--method", "vera", "--steps", "1", "--d-initial", "0.2", "--out", "embedded-run"];
  const { status, stderr } = await finetune(...args);
  expect([status, stderr]).toEqual([0, expect.stringContaining("step 1")]);
  expect(await Bun.file(join(folder, "embedded-run", "run.json")).json()).toMatchObject({
    learning_rate: 1e-2,
    adapter: { rank: 128, d_initial: 0.2, generator: "torch-mt19937-f32" },
  });
}, 60_000);

test("who names the embedded model without data is told how it learns from its own", async () => {
  const { status, stderr } = await finetune("embedded", "--out", "refused");
  expect([status, stderr]).toEqual([2, expect.stringContaining("without MODEL the embedded model learns")]);
});

test("what cannot be is refused before anything is written", async () => {
  const runs = await Promise.all(REFUSED.map(([args]) => finetune(STORIES, ...args, "--out", "refused")));
  expect(runs.map(({ status, stderr }) => [status, stderr])).toEqual(
    REFUSED.map(([, status, message]) => [status, expect.stringContaining(message)]),
  );
  expect(existsSync(join(folder, "refused"))).toBe(false);
}, 60_000);
