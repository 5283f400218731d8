import { afterAll, beforeAll, expect, test } from "bun:test";
import { cp, mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { openAdapter } from "../../adapters/formats/open.ts";
import { writePeft } from "../../adapters/formats/convert.ts";
import { randlora } from "../../adapters/randlora/method.ts";
import { initialSettings } from "./init-adapter.ts";
import type { AskedSettings } from "../settings/resolve-settings.ts";
import { RunFolder } from "../run/run-folder.ts";
import { outcomeOf, Recording } from "../testing/runs.ts";
import { ShortRuns } from "../testing/short-runs.ts";

let runs: ShortRuns;
beforeAll(async () => {
  runs = await ShortRuns.open();
});
afterAll(() => runs[Symbol.asyncDispose]());

test("an adapter that exists is trained on: its bases, parameters, targets", async () => {
  const first = await runs.train("base", await runs.settings({ steps: 3, targets: ["k_proj", "down_proj"] }));
  const settings = await runs.settings({
    steps: 1,
    initAdapter: join(runs.folder.at("base"), "adapter"),
    rank: 8,
    alpha: 160,
  });
  const found = await initialSettings(runs.folder.at("base"), undefined);
  const { recording } = await runs.train(
    "on",
    await runs.settings({ ...found, steps: 1, initAdapter: runs.folder.at("base") }),
  );
  expect(recording.warnings).toEqual([]);
  const [zero] = recording.metrics;
  expect(zero).toEqual({ step: 0, valid_loss: first.result.validLoss ?? NaN });
  await using adapter = await openAdapter(runs.folder.at("on"));
  expect(adapter.config["target_modules"]).toEqual(["k_proj", "down_proj"]);

  await runs.train("dropping", { ...settings, adapter: settings.adapter && { ...settings.adapter, dropout: 0.1 } });
  await using dropping = await openAdapter(runs.folder.at("dropping"));
  expect(dropping.config["randlora_dropout"]).toBe(0.1);

  // It is resumed without the adapter that it began with.
  await rename(runs.folder.at("base"), runs.folder.at("moved"));
  const longer = { ...settings, steps: 2, schedule: "constant" as const };
  // Nor is its own one lost that was set aside by a process killed between two renames.
  await rename(runs.folder.at("on", "adapter"), runs.folder.at("on", "adapter.00000000-999999999-1.old.part"));
  expect((await runs.train("on", longer)).result.steps).toBe(2);
});

const BEGINNINGS: [string, Partial<AskedSettings>, Partial<AskedSettings>][] = [
  ["drawn bases that are saved", { generator: "philox-v1", projections: true }, {}],
  ["bases of a file that are left out", { projections: true }, { projections: false }],
  ["LoRA's factors", { method: "lora" }, {}],
];

test.each(BEGINNINGS)("a run that began with an adapter is resumed without it: %s", async (name, first, then) => {
  const [path, other] = [runs.folder.at(`${name}-first`), runs.folder.at(`${name}-other`)];
  await runs.train(`${name}-first`, await runs.settings({ ...first, steps: 1 }));
  await runs.train(
    `${name}-other`,
    await runs.settings({ ...first, steps: 1, ...(first.method ? {} : { basisSeed: "9" }), seed: 3 }),
  );
  if (first.generator !== undefined) {
    // The bases are then drawn for the run, and saved with what it makes.
    await using adapter = await openAdapter(path);
    const { config, bases, metadata } = adapter;
    const tensors = [...adapter.tensors.values()].filter(({ name }) => !name.startsWith("base_model.randlora_"));
    const bare = runs.folder.at(`${name}-bare`);
    await mkdir(bare);
    await writePeft(bare, { config, bases, metadata, tensors }, randlora);
    for (const part of ["best", "adapter"]) await rm(join(path, part), { recursive: true });
    await rename(bare, join(path, "adapter"));
  }
  const init = { initAdapter: path, ...(await initialSettings(path, undefined)) };
  const settings = await runs.settings({ steps: 4, ...then, ...init });
  await runs.train(`${name}-whole`, settings);

  // Before anything was saved, the adapter must be what it was.
  await (await RunFolder.create(runs.folder.at(`${name}-parts`), settings))[Symbol.asyncDispose]();
  await rename(path, `${path}-kept`);
  await cp(other, path, { recursive: true });
  await expect(runs.train(`${name}-parts`, settings)).rejects.toMatchObject({
    code: "adapter",
    message: expect.stringMatching(/-first.*: not the adapter that the run began with/),
  });
  await rm(path, { recursive: true });
  await rename(`${path}-kept`, path);

  const stop = new AbortController();
  const stopping = new Recording();
  stopping.onStep = (step) => void (step === 2 && stop.abort());
  await runs.train(`${name}-parts`, settings, stopping, stop.signal);
  // Afterwards its fate does not matter.
  await rm(path, { recursive: true });
  await cp(other, path, { recursive: true });
  await runs.train(`${name}-parts`, settings);
  expect(await outcomeOf(runs.folder.at(`${name}-parts`))).toEqual(await outcomeOf(runs.folder.at(`${name}-whole`)));
});

test("bases that PEFT cannot draw are saved, and adapters of the paper's pairing go by another name", async () => {
  const settings = await runs.settings({ steps: 1, generator: "philox-v1", variant: "paper", projections: false });
  const { result } = await runs.train("paper", settings);
  await using adapter = await openAdapter(runs.folder.at("paper"));
  expect(adapter.config["peft_type"]).toBe("RANDLORA_PAPER");
  expect(adapter.bases).toMatchObject({ generator: "philox-v1", pairing: "paper" });
  expect(adapter.tensors.has("base_model.randlora_B")).toBe(true);
  const on = await runs.settings({
    steps: 1,
    initAdapter: join(runs.folder.at("paper"), "adapter"),
    ...(await initialSettings(runs.folder.at("paper"), undefined)),
  });
  const { recording } = await runs.train("paper-on", on);
  expect(recording.metrics[0]).toEqual({ step: 0, valid_loss: result.validLoss ?? NaN });

  // PEFT would round them to the checkpoint's f32: those of a base that was held in f16 it cannot draw.
  await runs.train("rounded", await runs.settings({ steps: 1, sparsity: "sparse", dtype: "f16" }));
  const init = {
    initAdapter: runs.folder.at("rounded"),
    ...(await initialSettings(runs.folder.at("rounded"), undefined)),
  };
  await runs.train("rounded-on", await runs.settings({ steps: 1, projections: false, ...init }));
  await using kept = await openAdapter(runs.folder.at("rounded-on"));
  expect(kept.tensors.has("base_model.randlora_B")).toBe(true);

  const bare = await runs.settings({ steps: 1, projections: false, sparsity: "sparse" });
  await runs.train("bare", bare);
  await using redrawn = await openAdapter(runs.folder.at("bare"));
  expect([...redrawn.tensors.keys()].filter((name) => !/lambda|gamma/.test(name))).toEqual([]);
  expect(redrawn.config["save_projection"]).toBe(false);
});
