import { afterAll, beforeAll, expect, test } from "bun:test";
import { Gpu } from "../../compute/gpu/gpu.ts";
import { smallCard } from "../../compute/gpu/testing/small-card.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { LLAMA_8B, writeHollow } from "../../models/testing/hollow.ts";
import { ModelSource } from "../text/model.ts";
import { inputFor, settingsFor, writeTexts } from "../testing/runs.ts";
import { chooseOptions } from "./choose-options.ts";
import { Engine, largestStep } from "./engine.ts";

const MEMORY = 8e9;
const WATCHDOG = 2;
let real: Gpu;
let folder: TemporaryFolder;
beforeAll(async () => {
  real = await Gpu.open();
  folder = await TemporaryFolder.create();
});
afterAll(async () => {
  real.close();
  await folder[Symbol.asyncDispose]();
});

test("a training step of an 8B model fits a card of 8 GB, and no submission takes 2 seconds", async () => {
  const model = folder.at("model");
  await writeHollow(model, LLAMA_8B);
  const data = await writeTexts(folder.at("train.jsonl"), 8);
  const settings = await settingsFor({ model, data, method: "lora", rank: 16, quantize: "q4", batchSize: 1 });
  const { location, subject } = await inputFor(settings);
  await using source = await ModelSource.open(settings, location);
  using card = smallCard(real, MEMORY);
  const { gpu, seen } = card;
  const plan = subject.plan(settings);
  const tokens = 1024;
  const steps = { ...plan.steps, largest: { tokens, targets: tokens } };
  const warnings: string[] = [];
  const { options, place, bytes } = await chooseOptions(
    gpu,
    source,
    { steps, validation: undefined },
    undefined,
    (line) => warnings.push(line),
  );
  expect([options.checkpointing, warnings.length]).toEqual([true, 1]);
  expect(bytes).toBeLessThan(MEMORY);
  using placed = await source.place(gpu, place);
  using engine = new Engine(gpu, placed, options);
  const step = largestStep(placed.task, steps);
  await engine.rehearse(step, undefined);
  seen.work = 0;
  // A step is sent while the one before is still computed.
  const outcomes = [await engine.step(step, 1e-4), await engine.step(step, 1e-4)];
  for (const { outcome } of outcomes) await outcome;
  expect(seen.peak).toBeLessThanOrEqual(MEMORY);
  expect(Math.max(...seen.seconds)).toBeLessThan(WATCHDOG);
  // Forward, again in the backward pass, and the gradients of activations: two operations a parameter and token each.
  const products = 2 * 7.5e9 * 3 * 2 * 2 * tokens;
  expect(seen.work).toBeGreaterThan(0.9 * products);
}, 120_000);
