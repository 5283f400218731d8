// Every method on the matrices of experts: training, resuming, merging, in files that have each by itself or those of all in one tensor.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { openBase } from "../../adapters/base/open-base.ts";
import { findTargets } from "../../adapters/base/target-modules.ts";
import { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { openCheckpoint } from "../../models/folder/open-checkpoint.ts";
import type { TrainSettings } from "../settings/settings.ts";
import { UnmergedAdapters } from "../../adapters/merge/in-memory/beside.ts";
import { Notes, OPTIONS } from "../../adapters/merge/testing/merge.ts";
import { merge } from "../../adapters/merge/to-files/run.ts";
import { methodNamed } from "../../adapters/methods.ts";
import { refusalOf } from "../../files/testing/folder.ts";
import { Batch } from "../../models/decoder/cache/batch.ts";
import { Decoder } from "../../models/decoder/decoder.ts";
import { writeArchitecture } from "../../models/testing/architectures.ts";
import type { AskedSettings } from "../settings/resolve-settings.ts";
import { METHOD_CASES } from "../testing/method-cases.ts";
import { outcomeOf, settingsFor, writeTexts } from "../testing/runs.ts";
import { ShortRuns } from "../testing/short-runs.ts";
import { expectSlope } from "../testing/slope.ts";

setDefaultTimeout(60_000);

const ASKED = {
  targets: ["q_proj", "w1", "w3", "w2"],
  batchSize: 2,
  gradAccum: 2,
  steps: 3,
  saveEvery: 2,
  evalEvery: 2,
};

let runs: ShortRuns;
let model: string;
/** Most of the texts that are trained on: the loss of others does not fall within a few steps of a model of random weights. */
let valid: string;
beforeAll(async () => {
  runs = await ShortRuns.open({ data: 8, valid: 2 });
  model = runs.folder.at("mixtral");
  valid = await writeTexts(runs.folder.at("same.jsonl"), 7);
  // Where tokens go to all experts the loss has a slope: none of them changes its experts.
  for (const [folder, chosen, fused] of [
    [model, 2, false],
    [`${model}-fused`, 2, true],
    [`${model}-all`, 5, false],
  ] as const) {
    const sizes = { vocab_size: 512, hidden_size: 36, num_local_experts: 5, num_experts_per_tok: chosen };
    await writeArchitecture(folder, "mixtral", 2, sizes, fused);
    await copyTokenizer(folder);
  }
});
async function copyTokenizer(folder: string): Promise<void> {
  for (const file of ["tokenizer.json", "tokenizer_config.json"]) await cp(join(STORIES, file), join(folder, file));
}

afterAll(() => runs[Symbol.asyncDispose]());

const small = (method: string, more: Partial<AskedSettings> = {}) =>
  settingsFor({ data: runs.data, valid, model, method, ...ASKED, ...more });

/** Methods, and one whose factors are worked out of RandLoRA's bases. */
const CASES = Object.entries({
  ...METHOD_CASES,
  "randlora rank-r": {
    ...METHOD_CASES.randlora,
    asked: { ...METHOD_CASES.randlora.asked, variant: "rank-r" as const },
  },
});

describe.each(CASES)("%s", (name, { asked, trained }) => {
  const method = name.split(" ")[0] ?? "";
  const at = (kind: string) => runs.folder.at(`${name}-${kind}`);

  test("trains, goes on from a save to the same bytes, and is merged to what was trained", async () => {
    const settings = await small(method, asked);
    const { result, recording } = await runs.train(`${name}-whole`, settings);
    const first = recording.metrics.find((line) => "valid_loss" in line);
    expect(result.validLoss ?? NaN).toBeLessThan(first !== undefined && "valid_loss" in first ? first.valid_loss : NaN);
    const { training } = methodNamed(method);
    if (training.result !== "adapter" || settings.adapter === null) throw new Error("no adapter");
    await using base = await openBase(model);
    const own: Readonly<Record<string, unknown>> = { ...settings.adapter };
    const { modules } = findTargets(base.base, settings.adapter);
    const { setting, count } = training.capacity;
    expect(result.trainableParameters).toBe(count(modules, Number(own[setting]), settings.adapter));
    await runs.trainInParts(`${name}-parts`, settings);
    expect(await outcomeOf(at("parts"))).toEqual(await outcomeOf(at("whole")));
    const merging = { ...OPTIONS, base: model, adapters: [at("whole")], out: at("merged"), verify: true };
    const { merged } = await merge(merging, new Notes(), new AbortController().signal);
    expect(merged).toBe(modules.length);
    await expectSameOfFused(settings, name, merged);
    await copyTokenizer(at("merged"));
    const still = { model: at("merged"), method: "full", learningRate: 0, steps: 1, batchSize: 2 } as const;
    const after = await runs.train(`${name}-after`, await settingsFor({ data: runs.data, valid, ...still }));
    // A token whose experts are nearly as good as others may go to others.
    expect(Math.abs((after.result.validLoss ?? NaN) / (result.validLoss ?? NaN) - 1)).toBeLessThan(1e-3);
    // Beside the weights.
    const choices = [{ path: at("whole"), scale: 1 }];
    const logitsOf = async (path: string, adapted: boolean) => {
      using one = await Decoder.load(runs.gpu, path);
      using placed = adapted ? await UnmergedAdapters.place(one, path, choices) : undefined;
      if (placed !== undefined) one.linears = placed.linears;
      using batch = new Batch(one, { rows: 1, positions: 1024 });
      const slot = batch.pool.acquire();
      await batch.pass([], { slot, ids: [3, 1, 4, 1, 5], sequenceLength: 6 });
      let logits = new Float32Array();
      // Commands of one pass, which are sent for each of these tokens.
      for (const id of [9, 2, 6]) {
        const [result] = (await batch.pass([{ slot, id, top: 1, all: true, lse: false }])).next;
        logits = Float32Array.from(result?.all ?? []);
      }
      expect(logits.length).toBe(512);
      return logits;
    };
    const [found, wanted] = [await logitsOf(model, true), await logitsOf(at("merged"), false)];
    const most = Math.max(...wanted.map(Math.abs));
    found.forEach((logit, token) => expect(Math.abs(logit - (wanted[token] ?? NaN))).toBeLessThan(1e-4 * most));
  });

  /** The same weights in tensors of all experts: the adapter has the same bytes, and the merge the same numbers, in such tensors. */
  async function expectSameOfFused(settings: TrainSettings, run: string, merged: number): Promise<void> {
    const fused = `${model}-fused`;
    await runs.train(`${run}-fused`, { ...settings, model: fused });
    const adapterOf = (folder: string) => Bun.file(join(folder, "adapter", "adapter_model.safetensors")).bytes();
    expect(await adapterOf(at("fused"))).toEqual(await adapterOf(at("whole")));
    const out = at("fused-merged");
    const merging = { ...OPTIONS, base: fused, adapters: [at("fused")], out, verify: true };
    expect((await merge(merging, new Notes(), new AbortController().signal)).merged).toBe(merged);
    await expectSameWeights(out, at("merged"));
  }

  test("its gradient is the slope of the loss", async () => {
    const all = `${model}-all`;
    await expectSlope(runs, all, await small(method, { ...asked, model: all, gradAccum: 1 }), trained, 0.02);
  });
});

/** `fused` has the numbers of `plain`, in the tensors of files that have those of all experts in one. */
async function expectSameWeights(fused: string, plain: string): Promise<void> {
  await using stored = await Checkpoint.open(fused);
  await using base = await Checkpoint.open(`${model}-fused`);
  const shapesOf = ({ tensors }: Checkpoint) => [...tensors].map(([name, { info }]) => [name, info.shape]);
  expect(shapesOf(stored)).toEqual(shapesOf(base));
  const valuesOf = async (folder: string) => {
    await using checkpoint = await openCheckpoint(folder);
    const values: [string, Uint8Array][] = [];
    for (const [name, { info }] of checkpoint.tensors) {
      const bytes = new Uint8Array(info.bytes);
      await checkpoint.read(name, bytes);
      // Routers have other names there.
      values.push([name.replace("block_sparse_moe.gate", "mlp.gate"), bytes]);
    }
    return new Map(values);
  };
  expect(await valuesOf(fused)).toEqual(await valuesOf(plain));
}

test("models trained whole have the tensors of all experts that their base has", async () => {
  const full = { method: "full", gradAccum: 1, steps: 1 } as const;
  const { targets: _, ...asked } = ASKED;
  for (const kind of ["", "-fused"]) {
    const settings = await settingsFor({ data: runs.data, valid, ...asked, ...full, model: model + kind });
    await runs.train(`full${kind}`, settings);
  }
  await expectSameWeights(join(runs.folder.at("full-fused"), "model"), join(runs.folder.at("full"), "model"));
});

test("LFM2-MoE, whose experts are chosen with a bias: what a hybrid on routers and experts trained is what is merged", async () => {
  const lfm = runs.folder.at("lfm2");
  const sizes = { num_experts: 6, num_dense_layers: 1, layer_types: ["conv", "full_attention", "conv"] };
  await writeArchitecture(lfm, "lfm2_moe", 3, { vocab_size: 512, hidden_size: 36, ...sizes });
  await copyTokenizer(lfm);
  const targets = ["in_proj", "w1", "w3", "w2", "gate"];
  const asked = { targets, rank: 4, learningRate: 3e-2, gradAccum: 1, evalEvery: 3 };
  const { result } = await runs.train("hybrid-lfm2", await small("hybrid", { model: lfm, ...asked }));
  const out = runs.folder.at("lfm2-merged");
  // The last one: a run stands for its best adapter.
  const adapters = [join(runs.folder.at("hybrid-lfm2"), "adapter")];
  await merge({ ...OPTIONS, base: lfm, adapters, out, verify: true }, new Notes(), new AbortController().signal);
  await copyTokenizer(out);
  const still = { model: out, method: "full", learningRate: 0, steps: 1, batchSize: 2 } as const;
  const after = await runs.train("lfm2-after", await settingsFor({ data: runs.data, valid, ...still }));
  expect(Math.abs((after.result.validLoss ?? NaN) / (result.validLoss ?? NaN) - 1)).toBeLessThan(1e-5);
});

test("magnitudes of experts with outputs that are no multiple of 4 are merged to what was trained", async () => {
  const odd = `${model}-odd`;
  const sizes = { vocab_size: 512, hidden_size: 38, num_local_experts: 3, num_experts_per_tok: 3 };
  await writeArchitecture(odd, "mixtral", 1, sizes);
  await copyTokenizer(odd);
  const { result } = await runs.train("odd", await small("dora", { model: odd, gradAccum: 1 }));
  const merged = runs.folder.at("odd-merged");
  const merging = { ...OPTIONS, base: odd, adapters: [runs.folder.at("odd")], out: merged, verify: true };
  await merge(merging, new Notes(), new AbortController().signal);
  await copyTokenizer(merged);
  const still = { model: merged, method: "full", learningRate: 0, steps: 1, batchSize: 2 } as const;
  const after = await runs.train("odd-after", await settingsFor({ data: runs.data, valid, ...still }));
  expect(Math.abs((after.result.validLoss ?? NaN) / (result.validLoss ?? NaN) - 1)).toBeLessThan(1e-5);
});

test("what experts cannot have is refused by name", async () => {
  const refusal = async (method: string, more: Partial<AskedSettings>) =>
    await refusalOf(async () => runs.train("refused", await small(method, more)));
  expect(await refusal("randlora", { dropout: 0.1 })).toMatchObject({
    code: "usage",
    message: expect.stringContaining("--dropout 0.1"),
  });
  expect(await refusal("vera", { targets: ["experts.gate_up_proj"] })).toMatchObject({
    code: "usage",
    message: expect.stringContaining("adapted by LoRA alone"),
    hint: expect.stringContaining("(w1|w3)"),
  });
  expect(await refusal("nola", { targets: ["experts.3.w2"] })).toMatchObject({
    code: "usage",
    message: expect.stringContaining("1 of 5 experts"),
  });
});
