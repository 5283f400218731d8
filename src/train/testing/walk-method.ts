import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFile, rename } from "node:fs/promises";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import type { Adapter } from "../../adapters/adapter.ts";
import { convertAdapter } from "../../adapters/convert.ts";
import { openBase } from "../../adapters/base/open-base.ts";
import { openDeltas } from "../../adapters/merge/in-memory/deltas.ts";
import { AdaptedWeights } from "../../adapters/merge/in-memory/weights.ts";
import { Notes, OPTIONS } from "../../adapters/merge/testing/merge.ts";
import { merge } from "../../adapters/merge/to-files/run.ts";
import type { BasesOrigin } from "../../adapters/plan.ts";
import { methodNamed } from "../../adapters/methods.ts";
import { openAdapter } from "../../adapters/open.ts";
import { writeLora } from "../../adapters/svd/write-lora.ts";
import { TEST_DEVICE } from "../../compute/device/testing/open.ts";
import { read } from "../../compute/device/transfer.ts";
import { Decoder } from "../../models/decoder/decoder.ts";
import { compareDeltas } from "../../measure/inspect/distance.ts";
import { initialSettings } from "../model/init-adapter.ts";
import type { AskedSettings } from "../settings/resolve-settings.ts";
import { formatSettings, parseTrainSettings } from "../settings/settings.ts";
import { outcomeOf, type Recording, settingsFor } from "./runs.ts";
import { ShortRuns } from "./short-runs.ts";
import { expectSlope } from "./slope.ts";

/** q and k lie joined with v, up with gate: 5 layers of each, wide, tall and square. */
const TARGETS = ["q_proj", "k_proj", "up_proj", "down_proj"];

const MODULES = Array.from({ length: 5 }, () => [
  { out: 64, in: 64 },
  { out: 32, in: 64 },
  { out: 172, in: 64 },
  { out: 64, in: 172 },
]).flat();
const SHORT = { targets: TARGETS, batchSize: 2, gradAccum: 2, steps: 4, saveEvery: 2, evalEvery: 2 };

/** What an adapter method is asked for in its walk. */
export interface MethodCase {
  /** Flags and rates with which a few steps change a tiny model. */
  readonly asked: Partial<AskedSettings>;
  /** The tensors of one module's gradient, by the ends of their names. */
  readonly trained: readonly string[];
  /** What draws the random matrices, as merges name it; none where there are no such. */
  readonly bases?: BasesOrigin;
}

/** The validation loss before the first step. */
function firstLoss({ metrics: [first] }: Recording): number {
  return first !== undefined && "valid_loss" in first ? first.valid_loss : NaN;
}

/** Holds a method to what every one promises: runs, gradients, merges, both formats, going on and resuming. */
export function walkMethod(method: string, { asked, trained, bases = "none" }: MethodCase): void {
  describe(`${method}:`, () => {
    let runs: ShortRuns;
    beforeAll(async () => {
      runs = await ShortRuns.open({ data: 8, valid: 2 });
    });
    afterAll(() => runs[Symbol.asyncDispose]());

    const small = (more: Partial<AskedSettings> = {}) =>
      settingsFor({ data: runs.data, valid: runs.valid, method, ...SHORT, ...asked, ...more });
    const at = (...names: string[]) => runs.folder.at("made", ...names);
    let made: { loss: number; first: number; parameters: number };
    beforeAll(async () => {
      const before = runs.gpu.memory.liveBytes;
      const { result, recording } = await runs.train("made", await small());
      expect(runs.gpu.memory.liveBytes).toBe(before);
      made = { loss: result.validLoss ?? NaN, first: firstLoss(recording), parameters: result.trainableParameters };
    });

    test("a run begins with the base itself, and its loss falls", async () => {
      const still = await runs.train("still", await runs.settings({ method: "lora", steps: 1, learningRate: 0 }));
      expect(Math.abs(made.first - firstLoss(still.recording))).toBeLessThan(1e-5);
      expect(made.loss).toBeLessThan(made.first - 0.01);
      expect(await readFile(at("adapter", "README.md"), "utf8")).toContain("adapter");
    });

    test("its settings are what run.json says, and as many parameters are trained as budget says", async () => {
      const settings = await small();
      const { training } = methodNamed(method);
      if (training.result !== "adapter" || settings.adapter === null) throw new Error("no adapter");
      const own: Readonly<Record<string, unknown>> = { ...settings.adapter };
      const { setting, count } = training.capacity;
      expect(made.parameters).toBe(count(MODULES, Number(own[setting]), settings.adapter));
      expect(parseTrainSettings(formatSettings(settings), "run.json")).toEqual(settings);
    });

    test("with dropout, an interrupted run ends with the bytes of one that was not", async () => {
      const settings = await small({ dropout: 0.1 });
      await runs.train("whole", settings);
      await runs.trainInParts("parts", settings);
      expect(await outcomeOf(runs.folder.at("parts"))).toEqual(await outcomeOf(runs.folder.at("whole")));
    });

    test("recomputing activations changes no loss", async () => {
      const [kept, spared] = [await small({ steps: 2 }), await small({ steps: 2, checkpointActivations: true })];
      const { recording } = await runs.train("kept", kept);
      expect((await runs.train("spared", spared)).recording.losses).toEqual(recording.losses);
    });

    test("its adapter is merged, and verified; chat has the bytes of the merged folder", async () => {
      const merging = { ...OPTIONS, base: STORIES, adapters: [at()], out: runs.folder.at("merged"), verify: true };
      const result = await merge(merging, new Notes(), new AbortController().signal);
      expect([result.merged, result.bases]).toEqual([20, [bases]]);
      expect(result.maxErrorUlp).toBeDefined();
      const [decoder, whole] = [await Decoder.load(runs.gpu, STORIES), await Decoder.load(runs.gpu, merging.out)];
      await using weights = await AdaptedWeights.open(decoder, STORIES);
      await weights.apply([{ path: at(), scale: 1 }]);
      for (const [name, { buffer }] of decoder.weights.tensors) {
        const other = whole.weights.tensors.get(name);
        if (other === undefined) throw new Error(name);
        expect(await read(runs.gpu, buffer)).toEqual(await read(runs.gpu, other.buffer));
      }
      for (const one of [decoder, whole]) one.release();
      const merged = { model: merging.out, method: "full", learningRate: 0, steps: 1, batchSize: 2 } as const;
      const after = await runs.train("after", await settingsFor({ data: runs.data, valid: runs.valid, ...merged }));
      expect(Math.abs((after.result.validLoss ?? NaN) / made.loss - 1)).toBeLessThan(1e-5);
    });

    test("the LoRA that keeps all of its ΔW has the same ΔW", async () => {
      const base = async () => await openBase(STORIES);
      const kept = { rank: undefined, energy: 1, base, generator: undefined };
      const options = { ...kept, out: runs.folder.at("low"), force: false, device: TEST_DEVICE };
      const silent = { warn() {}, start() {}, module() {}, work() {} };
      const { modules, all } = await writeLora(at(), options, silent, new AbortController().signal);
      expect(modules.length).toBe(20);
      expect(all.error / all.norm).toBeLessThan(3e-6);
      const choice = { layers: [], base };
      await using one = await openDeltas(runs.gpu, at(), choice);
      await using other = await openDeltas(runs.gpu, runs.folder.at("low"), choice);
      const { all: distance } = await compareDeltas(one, other, () => {});
      expect(distance.relative ?? NaN).toBeLessThan(3e-6);
    });

    test("both formats hold the same, and training goes on from either as if there had been no pause", async () => {
      {
        await using adapter = await openAdapter(at());
        await convertAdapter(adapter, { to: "json", out: at("a.json"), projections: undefined });
        await using json = await openAdapter(at("a.json"));
        await convertAdapter(json, { to: "peft", out: at("peft"), projections: undefined });
        await using again = await openAdapter(at("peft"));
        for (const [name, tensor] of adapter.tensors) {
          expect(await again.tensors.get(name)?.readAll(), name).toEqual(await tensor.readAll());
        }
        expect([again.config, again.bases]).toEqual([adapter.config, adapter.bases]);
      }
      for (const name of ["a.json", "peft"]) {
        const init = await initialSettings(at(name), {});
        expect(init.method as string).toBe(method);
        const known: Readonly<Record<string, unknown>> = init;
        for (const [key, value] of Object.entries(asked)) if (key in known) expect(known[key], key).toEqual(value);
        const settings = await small({ ...init, steps: 1, schedule: "constant", initAdapter: at(name) });
        const { recording } = await runs.train(`on-${name}`, settings);
        expect(Math.abs(firstLoss(recording) - made.loss)).toBeLessThan(1e-5);
        await using before = await openAdapter(at(name));
        await using on = await openAdapter(runs.folder.at(`on-${name}`));
        // A JSON has no random matrices that can be drawn again; a folder has them.
        const own = ({ tensors }: Adapter) => [...tensors.keys()].filter((tensor) => !tensor.startsWith("base_model."));
        expect([on.bases, own(on)]).toEqual([before.bases, own(before)]);
        // It is resumed without the adapter that it began with.
        await rename(at(name), at(`${name}-moved`));
        expect((await runs.train(`on-${name}`, { ...settings, steps: 2 })).result.steps).toBe(2);
      }
    });

    test("through the model its gradient is the slope of the loss", async () => {
      const settings = await small({ gradAccum: 1 });
      await expectSlope(runs, STORIES, settings, trained);
    });
  });
}
