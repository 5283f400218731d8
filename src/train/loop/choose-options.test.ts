import { expect, test } from "bun:test";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import type { Staging } from "../../compute/device/staging.ts";
import { chooseOptions, otherResults, stagingName, stagingOf } from "./choose-options.ts";
import { ModelSource } from "../text/model.ts";
import { inputFor, settingsFor, writeTexts } from "../testing/runs.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";

test("activations are recomputed where memory would not suffice otherwise, then W' is not kept either", async () => {
  await using folder = await TemporaryFolder.create();
  const data = await writeTexts(folder.at("train.jsonl"), 24);
  const settings = await settingsFor({ data, rank: 8, batchSize: 24 });
  const { location, subject } = await inputFor(settings);
  await using source = await ModelSource.open(settings, location);
  using gpu = await openTestDevice();
  const plan = subject.plan(settings);
  const choose = async (free: number) => {
    const warnings: string[] = [];
    const { bytes, options } = await chooseOptions(gpu, source, plan, undefined, (line) => warnings.push(line), {
      free,
    });
    return { bytes, checkpointing: options.checkpointing, warnings };
  };
  const kept = await choose(Infinity);
  expect(kept).toMatchObject({ checkpointing: false, warnings: [] });
  expect((await choose(kept.bytes)).checkpointing).toBe(false);
  const spared = await choose(kept.bytes - 1);
  expect(spared).toMatchObject({
    checkpointing: true,
    warnings: [expect.stringMatching(/^about .* would be needed and .* are free: activations are recomputed/)],
  });
  expect(spared.bytes).toBeLessThan(kept.bytes);
  const least = await choose(0);
  expect(least.bytes).toBeLessThan(spared.bytes);
  expect(least.warnings.map((line) => line.replace(/^.*: /, ""))).toEqual([
    "activations are recomputed instead of kept",
    "the adapter's products are formed anew instead of kept",
    "the run may find no room; close other programs",
  ]);
});

test("more tokens in a micro-batch than a GPU has workgroups an axis are refused by the flag's name", async () => {
  await using folder = await TemporaryFolder.create();
  const data = await writeTexts(folder.at("train.jsonl"), 4);
  const settings = await settingsFor({ data, rank: 8 });
  const { location, subject } = await inputFor(settings);
  await using source = await ModelSource.open(settings, location);
  using gpu = await openTestDevice();
  const { steps } = subject.plan(settings);
  const tokens = gpu.limits.maxRows + 1;
  const large = { length: 1, stepsPerEpoch: 1, largest: { tokens, targets: 1 }, step: () => steps.step(0) };
  for (const [plan, message] of [
    [{ steps: large, validation: undefined }, `--batch-size 4: a micro-batch has ${tokens} tokens`],
    [{ steps, validation: large }, `--batch-size 4: a micro-batch of the validation data has ${tokens} tokens`],
  ] as const) {
    const chosen = chooseOptions(gpu, source, plan, undefined, () => {});
    await expect(chosen).rejects.toMatchObject({ code: "usage", message: expect.stringContaining(message) });
  }
});

test("a run goes on in the staging that it began with: a state from before integer dot products, without them", () => {
  const [floats, dots, cpu, fma]: readonly Staging[] = [
    { kind: "workgroup" },
    { kind: "workgroup", integerDots: true },
    { kind: "cpu" },
    { kind: "cpu", fma: true },
  ];
  const on = (staging: Staging | undefined, name: Staging | undefined) =>
    stagingOf({ staging: staging ?? { kind: "cpu" } }, name && stagingName(name));
  for (const usual of [floats, dots]) {
    expect(on(usual, floats)).toEqual({ kind: "workgroup" });
    expect(on(usual, dots)).toEqual({ kind: "workgroup", integerDots: true });
    expect(on(usual, usual)).toBe(usual as Staging);
    expect(on(usual, undefined)).toBe(usual as Staging);
    expect(on(usual, cpu)).toBe(usual as Staging);
  }
  // Of a version that had another staging for software GPUs.
  expect(stagingOf({ staging: { kind: "workgroup" } }, "subgroup8")).toEqual({ kind: "workgroup" });
  expect(on(cpu, dots)).toEqual({ kind: "cpu" });
  expect(on(fma, cpu)).toEqual({ kind: "cpu" });
  expect(on(fma, fma)).toEqual({ kind: "cpu", fma: true });
  expect(on(fma, dots)).toEqual({ kind: "cpu", fma: true });
  expect(on(cpu, fma)).toEqual({ kind: "cpu" });
  expect(stagingOf({ staging: { kind: "workgroup", integerDots: true } }, "workgroup")).toEqual({ kind: "workgroup" });
});

test("a resumed run is told when its results will differ: on the CPU device where its kernels are others, on a GPU where that is another", () => {
  const info = (name: string, driver: string) => ({ name, driver, vendor: "", architecture: "", software: true });
  const device = (staging: Staging, name: string, driver: string) => ({ staging, info: info(name, driver) });
  const began = (name: string, driver: string, staging: string) => ({
    gpu: { name, driver },
    kernels: { checkpointing: false, staging, choices: {} },
  });
  const [wasm, fma]: readonly Staging[] = [{ kind: "cpu" }, { kind: "cpu", fma: true }];
  if (wasm === undefined || fma === undefined) throw new Error("two stagings");
  const [avx2, avx512, plain] = ["machine code with AVX2", "machine code with AVX-512", "WebAssembly"];
  const code = stagingName(fma);
  // Whatever the vectors' width, and wherever kernels of machine code are, WebAssembly's are, too.
  expect(otherResults(device(fma, "a", avx512), began("b", avx2, code))).toBeUndefined();
  expect(otherResults(device(fma, "a", avx512), began("a", plain, stagingName(wasm)))).toBeUndefined();
  expect(otherResults(device(wasm, "a", plain), began("a", avx2, code))).toBe(
    `the run began on ${avx2}; on driver ${plain} its results will differ in the last bits`,
  );
  // Kernels of before.
  expect(otherResults(device(fma, "a", avx2), began("a", avx2, "cpu, fma"))).toBe(
    "the run began with another version's kernels; its results will differ in the last bits",
  );
  const gpu = device({ kind: "workgroup" }, "a", "1.0");
  expect(otherResults(gpu, began("a", "1.0", "workgroup"))).toBeUndefined();
  expect(otherResults(gpu, began("a", "1.1", "workgroup"))).toContain("driver 1.0");
  expect(otherResults(gpu, began("b", "1.0", "workgroup"))).toContain("the run began on b; on a");
});
