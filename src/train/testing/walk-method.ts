import { SILENT } from "../../terminal/progress.ts";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFile, rename } from "node:fs/promises";
import type { Adapter } from "../../adapters/files/adapter.ts";
import { convertAdapter } from "../../adapters/formats/convert.ts";
import { openBase } from "../../adapters/base/named-base.ts";
import { openDeltas } from "../../adapters/merge/in-memory/deltas.ts";
import { AdaptedWeights } from "../../adapters/merge/in-memory/weights.ts";
import type { BasesOrigin } from "../../adapters/method/plan.ts";
import { methodNamed } from "../../adapters/methods.ts";
import { openAdapter } from "../../adapters/formats/open.ts";
import { writeLora } from "../../adapters/convert/write-lora.ts";
import { TEST_DEVICE } from "../../compute/device/testing/open.ts";
import { read } from "../../compute/device/transfer.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import { compareDeltas } from "../../measure/inspect/spectrum.ts";
import { initialSettings } from "../model/init-adapter.ts";
import type { AskedSettings } from "../settings/resolve-settings.ts";
import { resumeSettings } from "../settings/resume-settings.ts";
import { formatSettings, parseTrainSettings, type TrainSettings } from "../settings/settings.ts";
import { ShortRuns } from "./short-runs.ts";
import { expectSlope } from "./slope.ts";
import { LAYERS } from "./small-model.ts";

/** q and k lie joined with v, up with gate: in each layer wide, tall and square ones. */
const TARGETS = ["q_proj", "k_proj", "up_proj", "down_proj"];

const MODULES = Array.from({ length: LAYERS }, () => [
  { out: 64, in: 64 },
  { out: 32, in: 64 },
  { out: 172, in: 64 },
  { out: 64, in: 172 },
]).flat();
const SHORT = { targets: TARGETS, gradAccum: 2, steps: 4, saveEvery: 2, evalEvery: 2, dropout: 0.1 };

/** What an adapter method is asked for in its walk. */
export interface MethodCase {
  /** Flags and rates with which a few steps change a tiny model. */
  readonly asked: Partial<AskedSettings>;
  /** The tensors of one module's gradient, by the ends of their names. */
  readonly trained: readonly string[];
  /** What draws the random matrices, as merges name it; none where there are no such. */
  readonly bases?: BasesOrigin;
}

/** Holds methods to what every one promises: runs, gradients, merges, both formats, going on and resuming. */
export function walkMethods(cases: Readonly<Record<string, MethodCase>>): void {
  let runs: ShortRuns;
  let baseLoss: number;
  beforeAll(async () => {
    runs = await ShortRuns.open({ data: 8, valid: 2 });
    baseLoss = await runs.lossOf(runs.model);
  });
  afterAll(() => runs[Symbol.asyncDispose]());

  describe.each(Object.entries(cases))("%s:", (method, { asked, trained, bases = "none" }) => {
    const small = (more: Partial<AskedSettings> = {}) => runs.plain({ method, ...SHORT, ...asked, ...more });
    const at = (...names: string[]) => runs.folder.at(method, ...names);
    let settings: TrainSettings;
    let loss: number;

    test("a run begins with the base itself, trains as many parameters as budget says, and its loss falls", async () => {
      settings = await small();
      const before = runs.gpu.memory.liveBytes;
      const { result, recording } = await runs.train(method, settings);
      expect(runs.gpu.memory.liveBytes).toBe(before);
      loss = result.validLoss ?? NaN;
      expect(Math.abs(recording.firstLoss - baseLoss)).toBeLessThan(1e-5);
      expect(loss).toBeLessThan(baseLoss - 0.01);
      expect(await readFile(at("adapter", "README.md"), "utf8")).toContain("adapter");
      const { training } = methodNamed(method);
      if (training.result !== "adapter" || settings.adapter === null) throw new Error("no adapter");
      const own: Readonly<Record<string, unknown>> = { ...settings.adapter };
      const { setting, count } = training.capacity;
      expect(result.trainableParameters).toBe(count(MODULES, Number(own[setting]), settings.adapter));
      expect(parseTrainSettings(formatSettings(settings), "run.json")).toEqual(settings);
    });

    test("interrupted, and resumed with recomputed activations, it ends with the same bytes", async () => {
      const name = `${method}-parts`;
      await runs.trainInParts(name, settings, resumeSettings(settings, { checkpointActivations: true }));
      const [whole, parts] = [await runs.outcome(method), await runs.outcome(name)];
      // Which says that activations were recomputed.
      for (const outcome of [whole, parts]) delete outcome["state/step-4/state.json"];
      expect(Object.keys(whole)).toContain("state/step-4/parameters.safetensors");
      expect(parts).toEqual(whole);
    });

    test("its adapter is merged, and verified; chat has the bytes of the merged folder", async () => {
      const { merged, out, maxErrorUlp, ...result } = await runs.merge(at(), `${method}-merged`);
      expect([merged, result.bases]).toEqual([MODULES.length, [bases]]);
      expect(maxErrorUlp).toBeDefined();
      const [decoder, whole] = [await loadDecoder(runs.gpu, runs.model), await loadDecoder(runs.gpu, out)];
      await using weights = await AdaptedWeights.open(decoder, runs.model);
      await weights.apply([{ path: at(), scale: 1 }]);
      for (const [name, { buffer }] of decoder.weights.tensors) {
        const other = whole.weights.tensors.get(name);
        if (other === undefined) throw new Error(name);
        expect(await read(runs.gpu, buffer)).toEqual(await read(runs.gpu, other.buffer));
      }
      for (const one of [decoder, whole]) one.release();
      expect(Math.abs((await runs.lossOf(out)) / loss - 1)).toBeLessThan(1e-5);
    });

    // Of a ΔW by the adapter alone, and of one that the base has a part in.
    if (method === "hybrid" || method === "dora")
      test("the LoRA that keeps all of its ΔW has the same ΔW", async () => {
        const base = async () => await openBase(runs.model);
        const kept = { rank: undefined, energy: 1, base, generator: undefined };
        const options = { ...kept, out: at("low"), force: false, device: TEST_DEVICE };
        const { modules, all } = await writeLora(at(), options, SILENT, new AbortController().signal);
        expect(modules.length).toBe(MODULES.length);
        expect(all.error / all.norm).toBeLessThan(3e-6);
        const choice = { layers: [], base };
        await using one = await openDeltas(runs.gpu, at(), choice);
        await using other = await openDeltas(runs.gpu, at("low"), choice);
        const { all: distance } = await compareDeltas(one, other, () => {});
        expect(distance.relative ?? NaN).toBeLessThan(3e-6);
      });

    test("both formats hold the same, and training goes on from one of them as if there had been no pause", async () => {
      const json = at("a.json");
      {
        await using adapter = await openAdapter(at());
        await convertAdapter(adapter, { to: "json", out: json, projections: undefined });
        await using compact = await openAdapter(json);
        await convertAdapter(compact, { to: "peft", out: at("peft"), projections: undefined });
        await using again = await openAdapter(at("peft"));
        for (const [name, tensor] of adapter.tensors) {
          expect(await again.tensors.get(name)?.readAll(), name).toEqual(await tensor.readAll());
        }
        expect([again.config, again.bases]).toEqual([adapter.config, adapter.bases]);
      }
      const from = Object.keys(cases).indexOf(method) % 2 === 0 ? json : at("peft");
      const init = await initialSettings(from, {});
      expect(init.method as string).toBe(method);
      const known: Readonly<Record<string, unknown>> = init;
      for (const [key, value] of Object.entries(asked)) if (key in known) expect(known[key], key).toEqual(value);
      const on = await small({ ...init, steps: 1, schedule: "constant", initAdapter: from });
      const name = `${method}-on`;
      const { recording } = await runs.train(name, on);
      expect(Math.abs(recording.firstLoss - loss)).toBeLessThan(1e-5);
      {
        await using before = await openAdapter(from);
        await using after = await openAdapter(runs.folder.at(name));
        // A JSON has no random matrices that can be drawn again; a folder has them.
        const own = ({ tensors }: Adapter) => [...tensors.keys()].filter((tensor) => !tensor.startsWith("base_model."));
        expect([after.bases, own(after)]).toEqual([before.bases, own(before)]);
      }
      // It is resumed without the adapter that it began with.
      await rename(from, `${from}-moved`);
      expect((await runs.train(name, { ...on, steps: 2 })).result.steps).toBe(2);
    });

    test("through the model its gradient is the slope of the loss", async () => {
      await expectSlope(runs, runs.model, await small({ gradAccum: 1, dropout: 0 }), trained);
    });
  });
}
