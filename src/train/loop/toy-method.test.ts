// A method that is no part of the program: whatever training does, it does without knowing which methods there are.
import { expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import * as v from "valibot";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import type { MethodDefinition } from "../../adapters/method.ts";
import { METHODS } from "../../adapters/methods.ts";
import { findTargets } from "../../adapters/base/target-modules.ts";
import { memoryTensor } from "../../adapters/files/tensors.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { SafetensorsFile } from "../../files/safetensors/file.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import { loadRunData } from "../text/data.ts";
import { finetune } from "./finetune.ts";
import { resolveSettings } from "../settings/resolve-settings.ts";
import { RunFolder } from "../run/run-folder.ts";
import { formatSettings, parseTrainSettings } from "../settings/settings.ts";
import { Recording, writeTexts } from "../testing/runs.ts";
import { textSubject } from "../text/subject.ts";

type Own = { readonly firstValue: number };

const refuse = (): never => {
  throw new TypeError("only trained here");
};

/** y = x Wᵀ + b: a number for each output of chosen modules. */
const bias: MethodDefinition<Own> = {
  name: "bias",
  title: "Bias",
  peftTypes: ["BIAS"],
  shared: [],
  check() {},
  plan: refuse,
  convert: refuse,
  training: {
    result: "adapter",
    settings: { firstValue: v.number() },
    usual: { rank: 1, alphaPerRank: 1, learningRate: 1e-4 },
    capacity: {
      setting: "rank",
      most: () => 1,
      count: (modules) => modules.reduce((sum, { out }) => sum + out, 0),
      flops: () => 0,
    },
    resolve: ({ firstValue = 0 }) => ({ firstValue }),
    initial: refuse,
    async open({ base }, settings) {
      const { modules } = findTargets(base, settings);
      return {
        parameters: modules.map(({ name, out }) => ({ name: `${name}.bias_b`, shape: [1, out] as const })),
        modules: modules.map(({ name, out, in: input }) => ({ name, shape: [out, input], parameters: out })),
        notes: [],
        async place({ parameters, tensors }) {
          const added = new Map(
            modules.map(({ name, out }) => {
              parameters.write(`${name}.bias_b`, "value", new Float32Array(out).fill(settings.firstValue));
              return [tensors.get(`${name}.weight`)?.buffer, parameters.get(`${name}.bias_b`)];
            }),
          );
          return {
            choices: {},
            prepare() {},
            watched: () => [...added.values()],
            linears: () => ({
              apply: (recorder, inputs) =>
                recorder.apply(OPS.linear, { ...inputs, bias: added.get(inputs.weight.buffer)?.value }, {}).y,
            }),
            finish() {},
            content: async () => ({
              config: { peft_type: "BIAS" },
              bases: undefined,
              tensors: await Promise.all(
                [...added.values()].map(async ({ name, shape }) =>
                  memoryTensor(name, "F32", shape, new Uint8Array((await parameters.read(name)).buffer)),
                ),
              ),
              metadata: new Map(),
            }),
          };
        },
      };
    },
  },
};

test("a method that only a test knows is resolved, recorded, planned, trained, saved and resumed", async () => {
  await using folder = await TemporaryFolder.create();
  const methods = [...METHODS, bias];
  const data = await writeTexts(folder.at("train.jsonl"), 8);
  const facts = { modelType: "llama", contextLength: 64, methods };
  const asked = { model: STORIES, data, method: "bias", targets: ["down_proj"], learningRate: 1e-2 };
  expect(() => resolveSettings({ ...asked, compute: "merged" }, facts)).toThrow("--method bias");
  const settings = resolveSettings({ ...asked, batchSize: 4, steps: 6, saveEvery: 3, schedule: "constant" }, facts);
  expect(settings.adapter).toMatchObject({ rank: 1, firstValue: 0 });
  expect(parseTrainSettings(formatSettings(settings), "run.json", methods)).toEqual(settings);

  const location = { folder: STORIES, weights: undefined };
  const { data: samples } = await loadRunData(settings, STORIES);
  await using run = await RunFolder.create(folder.at("run"), settings);
  const recording = new Recording();
  const train = (steps: number) => {
    const input = { settings: { ...settings, steps }, location, subject: textSubject(samples), folder: run, methods };
    return finetune(input, recording, new AbortController().signal);
  };
  await train(3);
  const result = await train(6);
  expect([result.stepsBefore, result.steps]).toEqual([3, 6]);
  expect(result.trainableParameters).toBe(5 * 64);
  expect(recording.losses.at(-1)).toBeLessThan((recording.losses[0] ?? 0) - 0.05);
  await using saved = await SafetensorsFile.open(`${run.path}/adapter/adapter_model.safetensors`);
  expect(saved.header.byOffset.map(({ shape }) => shape)).toEqual(Array.from({ length: 5 }, () => [1, 64]));
  expect(await readFile(`${run.path}/adapter/README.md`, "utf8")).toContain("# Bias adapter");
});
