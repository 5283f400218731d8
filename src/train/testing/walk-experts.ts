// Methods on the matrices of experts: training, resuming, merging, in files that have each by itself or those of all in one tensor.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { openBase } from "../../adapters/base/named-base.ts";
import { findTargets } from "../../adapters/base/target-modules.ts";
import { placeUnmerged } from "../../adapters/merge/in-memory/beside.ts";
import { methodNamed } from "../../adapters/methods.ts";
import { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { Batch } from "../../models/decoder/cache/batch.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import { openCheckpoint } from "../../models/folder/open-checkpoint.ts";
import { writeArchitecture } from "../../models/testing/architectures.ts";
import type { AskedSettings } from "../settings/resolve-settings.ts";
import { writeTexts } from "./runs.ts";
import { ShortRuns } from "./short-runs.ts";
import { expectSlope } from "./slope.ts";
import type { MethodCase } from "./walk-method.ts";

const TARGETS = ["q_proj", "w1", "w3", "w2"];
const SHORT = { gradAccum: 2, steps: 3, saveEvery: 2, evalEvery: 2 };

/** The tokenizer of the stories, for a model of random weights. */
export async function copyTokenizer(folder: string): Promise<void> {
  for (const file of ["tokenizer.json", "tokenizer_config.json"]) await cp(join(STORIES, file), join(folder, file));
}

/** Short runs on Mixtral models whose weights are the same, but for their files and how many experts a token goes to. */
export class ExpertRuns implements AsyncDisposable {
  private constructor(
    readonly runs: ShortRuns,
    readonly model: string,
    /** Most of the texts that are trained on: the loss of others does not fall within a few steps of a model of random weights. */
    readonly valid: string,
  ) {}

  static async open(): Promise<ExpertRuns> {
    const runs = await ShortRuns.open({ data: 8, valid: 2 });
    const model = runs.folder.at("mixtral");
    // Where tokens go to all experts the loss has a slope: none of them changes its experts.
    for (const [folder, chosen, fused] of [
      [model, 2, false],
      [`${model}-fused`, 2, true],
      [`${model}-all`, 3, false],
    ] as const) {
      const sizes = { vocab_size: 512, hidden_size: 36, num_local_experts: 3, num_experts_per_tok: chosen };
      await writeArchitecture(folder, "mixtral", 2, sizes, fused);
      await copyTokenizer(folder);
    }
    return new ExpertRuns(runs, model, await writeTexts(runs.folder.at("same.jsonl"), 7));
  }

  settings(method: string, more: Partial<AskedSettings> = {}) {
    const targets = method === "full" ? {} : { targets: TARGETS };
    return this.runs.plain({ model: this.model, valid: this.valid, method, ...targets, ...SHORT, ...more });
  }

  /** The validation loss of a merged model, which has no tokenizer yet. */
  async lossOf(model: string): Promise<number> {
    await copyTokenizer(model);
    return await this.runs.lossOf(model, { valid: this.valid });
  }

  /** `fused` has the numbers of `plain`, in the tensors of files that have those of all experts in one. */
  async expectSameWeights(fused: string, plain: string): Promise<void> {
    await using stored = await Checkpoint.open(fused);
    await using base = await Checkpoint.open(`${this.model}-fused`);
    const shapesOf = ({ tensors }: Checkpoint) => [...tensors].map(([name, { info }]) => [name, info.shape]);
    expect(shapesOf(stored)).toEqual(shapesOf(base));
    expect(await valuesOf(fused)).toEqual(await valuesOf(plain));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.runs[Symbol.asyncDispose]();
  }
}

async function valuesOf(folder: string): Promise<Map<string, Uint8Array>> {
  await using checkpoint = await openCheckpoint(folder);
  const values: [string, Uint8Array][] = [];
  for (const [name, { info }] of checkpoint.tensors) {
    const bytes = new Uint8Array(info.bytes);
    await checkpoint.read(name, bytes);
    // Routers have other names there.
    values.push([name.replace("block_sparse_moe.gate", "mlp.gate"), bytes]);
  }
  return new Map(values);
}

/**
 * @param cases by the method's name, and perhaps more words after it
 * @returns the runs, for other tests of the file
 */
export function walkExperts(cases: Readonly<Record<string, MethodCase>>): () => ExpertRuns {
  let experts: ExpertRuns;
  beforeAll(async () => {
    experts = await ExpertRuns.open();
  });
  afterAll(() => experts[Symbol.asyncDispose]());

  describe.each(Object.entries(cases))("%s", (name, { asked, trained }) => {
    const method = name.split(" ")[0] ?? "";

    test("trains, goes on from a save to the same bytes, and is merged to what was trained", async () => {
      const { runs, model } = experts;
      const at = (kind: string) => runs.folder.at(`${name}-${kind}`);
      const settings = await experts.settings(method, asked);
      const { result, recording } = await runs.train(`${name}-whole`, settings);
      const loss = result.validLoss ?? NaN;
      expect(loss).toBeLessThan(recording.firstLoss);
      const { training } = methodNamed(method);
      if (training.result !== "adapter" || settings.adapter === null) throw new Error("no adapter");
      await using base = await openBase(model);
      const own: Readonly<Record<string, unknown>> = { ...settings.adapter };
      const { modules } = findTargets(base.base, settings.adapter);
      const { setting, count } = training.capacity;
      expect(result.trainableParameters).toBe(count(modules, Number(own[setting]), settings.adapter));
      await runs.trainInParts(`${name}-parts`, settings);
      expect(await runs.outcome(`${name}-parts`)).toEqual(await runs.outcome(`${name}-whole`));
      const { merged } = await runs.merge(at("whole"), `${name}-merged`, { base: model });
      expect(merged).toBe(modules.length);

      // The same weights in tensors of all experts: the adapter has the same bytes, and the merge the same numbers, in such tensors.
      const fused = `${model}-fused`;
      await runs.train(`${name}-fused`, { ...settings, model: fused });
      const adapterOf = (folder: string) => Bun.file(join(folder, "adapter", "adapter_model.safetensors")).bytes();
      expect(await adapterOf(at("fused"))).toEqual(await adapterOf(at("whole")));
      expect((await runs.merge(at("fused"), `${name}-fused-merged`, { base: fused })).merged).toBe(merged);
      await experts.expectSameWeights(at("fused-merged"), at("merged"));

      // A token whose experts are nearly as good as others may go to others.
      expect(Math.abs((await experts.lossOf(at("merged"))) / loss - 1)).toBeLessThan(1e-3);
      const found = await logitsOf(model, at("whole"));
      const wanted = await logitsOf(at("merged"));
      const most = Math.max(...wanted.map(Math.abs));
      found.forEach((logit, token) => expect(Math.abs(logit - (wanted[token] ?? NaN))).toBeLessThan(1e-4 * most));
    });

    /** @param adapter beside the weights */
    async function logitsOf(path: string, adapter?: string): Promise<Float32Array> {
      using one = await loadDecoder(experts.runs.gpu, path);
      using placed = adapter === undefined ? undefined : await placeUnmerged(one, path, [{ path: adapter, scale: 1 }]);
      if (placed) one.linears = placed.linears;
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
    }

    test("its gradient is the slope of the loss", async () => {
      const model = `${experts.model}-all`;
      const settings = await experts.settings(method, { ...asked, model, gradAccum: 1 });
      await expectSlope(experts.runs, model, settings, trained, 0.02);
    });
  });
  return () => experts;
}
