// Fine-tuning on images as users type it: on small models with made-up weights, and images of three colors.
import { expect, test } from "bun:test";
import { cp } from "node:fs/promises";
import { openAdapter } from "../src/adapters/formats/open.ts";
import { LORA, ImageFolder } from "./testing/image-data.ts";
import { randlora } from "./testing/images.ts";

const place = await ImageFolder.forTests();
const at = place.at.bind(place);
const finetune = place.finetune.bind(place);
const train = place.train.bind(place);
const evaluate = place.evaluate.bind(place);

test("a head and an adapter are trained, measured, merged and asked; the numbers agree all the way", async () => {
  const length = ["--learning-rate", "2e-2", "--epochs", "8", "--eval-every", "32"];
  const { json, metrics, run } = await train("walk", "dinov2", ...LORA, ...length);
  expect(run).toMatchObject({
    images: { task: "classify", head: "linear", head_learning_rate: 2e-2, templates: null, augment: "none" },
    schedule: "cosine",
    max_length: null,
  });
  const evaluations = metrics.flatMap((line) => ("valid_loss" in line ? [line] : []));
  expect(evaluations.map(({ step }) => step)).toEqual([0, 32]);
  const [first, last] = evaluations;
  expect(last?.valid_loss).toBeLessThan((first?.valid_loss ?? NaN) - 0.05);
  expect(last?.valid_accuracy).toBeGreaterThan(0.6);
  expect(json).toMatchObject({ steps: 32, tokens: 192, valid_accuracy: last?.valid_accuracy, best_step: 32 });
  expect(json.peak_gpu_bytes).toBeLessThanOrEqual(json.estimated_gpu_bytes);
  expect(await Bun.file(at("walk", "adapter", "classes.json")).json()).toEqual(["cat", "dog", "owl"]);

  const found = await evaluate("walk", "--split", "valid");
  expect(found).toMatchObject({ images: 9, accuracy: last?.valid_accuracy });
  expect(found.loss).toBeCloseTo(last?.valid_loss ?? NaN, 5);
  const merged = await randlora("merge", at("dinov2"), at("walk"), "--out", at("merged"), "-q");
  expect(merged.status).toBe(0);
  const same = await evaluate("merged", "--split", "valid");
  expect([same.accuracy, same.per_class]).toEqual([found.accuracy, found.per_class]);
  expect(same.loss).toBeCloseTo(found.loss, 5);
  const test = await evaluate("merged");
  const owl = at("data", "test", "owl", "30.ppm");
  const asked = await Promise.all(["walk", "merged"].map((name) => randlora("classify", at(name), owl, "--json")));
  const [one, other] = asked.map(({ stdout }) => JSON.parse(stdout).images[0].classes);
  expect(one.map(({ name }: { name: string }) => name)).toEqual(other.map(({ name }: { name: string }) => name));
  expect(test.images).toBe(6);
  const inspected = await randlora("inspect", at("walk"), "--json");
  expect(JSON.parse(inspected.stdout)).toMatchObject({ method: "lora", rank: 8 });
  const converted = await randlora("convert", at("walk"), "--to", "json", "--out", at("walk.json"), "--json");
  expect(converted.status).toBe(0);
});

test("defaults for images: texts as a frozen head with CLIP, and what a dry run tells of them", async () => {
  const { stdout, status } = await finetune("clip", "--targets", "all-linear", "--dry-run", "--json");
  expect(status).toBe(0);
  const plan = JSON.parse(stdout);
  expect(plan).toMatchObject({ dry_run: true, samples: 24, valid_samples: 9, classes: 3, steps: 1 });
  const { json, run, metrics } = await train("zero", "clip", "--targets", "all-linear");
  expect(run).toMatchObject({
    batch_size: 32,
    learning_rate: 1e-3,
    images: { head: "zero-shot", head_learning_rate: null, templates: "simple" },
  });
  expect(json).toMatchObject({ steps: 1, trainable_parameters: plan.trainable_parameters });
  expect(json.estimated_gpu_bytes).toBe(plan.estimated_gpu_bytes);
  // Before the first step, it is the model as it is.
  const [begin] = metrics;
  const base = await evaluate("clip", "--split", "valid");
  expect(begin).toMatchObject({ step: 0, valid_accuracy: base.accuracy });
  expect("valid_loss" in (begin ?? {}) && begin).toMatchObject({ valid_loss: expect.closeTo(base.loss, 5) });
  await using adapter = await openAdapter(at("zero"));
  // The texts stay what they are.
  expect([...adapter.tensors.keys()].filter((name) => name.startsWith("text_"))).toEqual([]);
  const shown = await finetune("clip", ...LORA, "--dry-run");
  expect(shown.stdout).toMatch(/^training +24 +3 +8 +8$/m);
});

test("texts of a frozen head count in the memory that a run is expected to take", async () => {
  await Bun.write(at("many.txt"), "{}\n".repeat(40));
  const { json } = await train(
    "texts",
    "clip",
    ...LORA,
    "--batch-size",
    "1",
    "--steps",
    "1",
    "--templates",
    at("many.txt"),
  );
  expect(json.peak_gpu_bytes).toBeLessThanOrEqual(json.estimated_gpu_bytes);
});

test("contrastive: both encoders are trained, and what is measured is what eval images measures", async () => {
  const { run, metrics } = await train(
    "both",
    "clip",
    ...LORA,
    "--task",
    "contrastive",
    "--epochs",
    "6",
    "--learning-rate",
    "1e-2",
  );
  expect(run.images).toMatchObject({ task: "contrastive", loss: "clip", towers: "both", head: null });
  const end = metrics.at(-1);
  const found = await evaluate("both", "--split", "valid");
  expect(end).toMatchObject({ valid_accuracy: found.accuracy, valid_loss: expect.closeTo(found.loss, 5) });
  await using adapter = await openAdapter(at("both"));
  expect([...adapter.tensors.keys()].some((name) => name.startsWith("text_model."))).toBe(true);
  const { run: other } = await train(
    "text",
    "clip",
    ...LORA,
    "--task",
    "contrastive",
    "--towers",
    "text",
    "--loss",
    "paper",
  );
  expect(other.images).toMatchObject({ loss: "paper", towers: "text" });
  await using text = await openAdapter(at("text"));
  expect([...text.tensors.keys()].filter((name) => !name.startsWith("text_model."))).toEqual([]);
});

test("one of the paper's sets by its name, and a base held in 16 bits", async () => {
  const image = at("data", "train", "cat", "0.ppm");
  for (const digit of ["0", "1"])
    for (const split of ["train", "test"]) await cp(image, at("digits-data", split, digit, "0.ppm"));
  const args = ["--data", at("digits-data"), "--dataset", "mnist", "--dtype", "bf16", "--layers", "1"];
  const { json, run } = await train("digits", "dinov2", ...LORA, ...args);
  expect(json).toMatchObject({ steps: 1, tokens: 2, valid_loss: null, valid_accuracy: null });
  expect(run).toMatchObject({ dtype: "bf16", images: { dataset: "mnist" } });
  const classes = await Bun.file(at("digits", "adapter", "classes.json")).json();
  expect(classes).toEqual(["0", "1"]);
  const { stdout } = await finetune("dinov2", ...LORA, ...args, "--out", at("shown"));
  const next = stdout.trim().split("\n").at(-1)?.replace("next: randlora ", "").split(" ") ?? [];
  const { status } = await randlora(...next);
  expect([next.slice(0, 2), status]).toEqual([["eval", "images"], 0]);
});

test("parts of the data: shots, a fraction, a split for validation, another folder to validate on", async () => {
  const plan = async (...args: readonly string[]) => {
    const { stdout, stderr, status } = await finetune("dinov2", ...LORA, "--dry-run", "--json", ...args);
    expect([stderr, status]).toEqual(["", 0]);
    const { samples, valid_samples: valid } = JSON.parse(stdout);
    return [samples, valid];
  };
  expect(await plan("--shots", "2")).toEqual([6, 9]);
  expect(await plan("--fraction", "0.5")).toEqual([12, 9]);
  expect(await plan("--valid", at("data", "test"))).toEqual([24, 6]);
  await cp(at("data", "train"), at("alone", "train"), { recursive: true });
  expect(await plan("--data", at("alone"), "--valid-split", "0.25")).toEqual([18, 6]);
  expect(await plan("--data", at("alone"))).toEqual([24, 0]);
  // What is shown to be typed next names a part that is there.
  const args = ["--data", at("alone"), "--steps", "1"];
  const { stdout } = await finetune("dinov2", ...LORA, ...args, "--out", at("alone-run"));
  expect(stdout).toContain(`--data ${at("alone")} --split train\n`);
  await cp(at("data", "valid"), at("alone", "valid"), { recursive: true });
  const judged = await finetune("dinov2", ...LORA, ...args, "--out", at("judged-run"));
  expect(judged.stdout).toContain(`--data ${at("alone")} --split valid\n`);
});
