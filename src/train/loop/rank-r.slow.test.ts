// RandLoRA with two factors (--variant rank-r), from training to a merge and on.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { AdaptedWeights } from "../../adapters/merge/in-memory/weights.ts";
import { placeUnmerged } from "../../adapters/merge/in-memory/beside.ts";
import { convertAdapter } from "../../adapters/formats/convert.ts";
import { openAdapter } from "../../adapters/formats/open.ts";
import { readModel, widened } from "../../adapters/merge/testing/models.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import { initialSettings } from "../model/init-adapter.ts";
import type { AskedSettings } from "../settings/resolve-settings.ts";
import type { TrainSettings } from "../settings/settings.ts";
import { ShortRuns } from "../testing/short-runs.ts";
import { logitsAfter } from "../../models/testing/logits.ts";

let runs: ShortRuns;
beforeAll(async () => {
  runs = await ShortRuns.open({ data: 8, valid: 2 });
});
afterAll(() => runs[Symbol.asyncDispose]());

function small(asked: Partial<AskedSettings>): Promise<TrainSettings> {
  const common = { gradAccum: 2, learningRate: 1e-3, saveEvery: 2, variant: "rank-r", rank: 6, steps: 3 } as const;
  return runs.plain({ ...common, schedule: "constant", ...asked });
}

test("orders of products are another variant's", async () => {
  await expect(small({ compute: "merged" })).rejects.toThrow(
    "--compute merged: --variant rank-r has one order of products",
  );
});

test.each<[string, Partial<AskedSettings>]>([
  ["dense", { dropout: 0.1, targets: ["q_proj", "v_proj", "up_proj", "down_proj"] }],
  ["sparse, magnitudes over", { sparsity: "sparse", checkpointActivations: true, dora: true }],
  ["philox", { generator: "philox-v1", targets: ["k_proj", "down_proj"] }],
])(
  "%s bases: a run trains, resumes to the same bytes, is merged, and goes on as if there had been no pause",
  async (name, asked) => {
    const settings = await small(asked);
    const before = runs.gpu.memory.liveBytes;
    const { result, recording } = await runs.train(name, settings);
    expect(runs.gpu.memory.liveBytes).toBe(before);
    expect(result.validLoss).toBeLessThan(recording.firstLoss - 0.02);
    for (const steps of [1, 3]) await runs.train(`${name}-parts`, { ...settings, steps });
    const [whole, parts] = [await runs.outcome(name), await runs.outcome(`${name}-parts`)];
    for (const file of Object.keys(whole).filter((one) => one.startsWith("adapter/")))
      expect(parts[file]).toBe(whole[file]);

    const trained = runs.folder.at(name, "adapter");
    const merged = await runs.merge(trained, `${name}-merged`);
    expect(merged.bases).toEqual(["saved"]);
    const json = runs.folder.at(`${name}.json`);
    {
      await using adapter = await openAdapter(trained);
      expect(adapter.config["peft_type"]).toBe(asked.dora === true ? "RANDLORA_RANK_R_DORA" : "RANDLORA_RANK_R");
      await convertAdapter(adapter, { to: "json", out: json, projections: undefined });
    }
    const again = await runs.merge(json, `${name}-again`);
    expect(again.bases).not.toEqual(["saved"]);
    const tensors = await readModel(merged.out);
    for (const [tensor, drawn] of Object.entries(await readModel(again.out))) {
      const saved = widened(tensors[tensor] ?? drawn);
      // Ternary and philox ones are stored as units where they are drawn, and products round differently.
      expect(widened(drawn).every((value, at) => Math.abs(value - (saved[at] ?? NaN)) < 1e-6)).toBe(true);
    }

    // Beside weights that nothing is merged into, quantized ones, it is what is merged.
    using decoder = await loadDecoder(runs.gpu, runs.model);
    const choices = [{ path: trained, scale: 1 }];
    const logitsOf = () => logitsAfter(decoder, [3, 1, 4, 1, 5]);
    const plain = decoder.linears;
    using placed = await placeUnmerged(decoder, runs.model, choices);
    decoder.linears = placed.linears;
    const beside = await logitsOf();
    decoder.linears = plain;
    await using adapted = await AdaptedWeights.open(decoder, runs.model);
    await adapted.apply(choices, { dtype: "f32" });
    for (const [token, logit] of (await logitsOf()).entries()) expect(beside[token]).toBeCloseTo(logit, 4);

    // From the file that holds no bases, and from the one that does.
    for (const path of [json, trained]) {
      const init = await initialSettings(path, {});
      expect(init).toMatchObject({ variant: "rank-r", rank: 6, sparsity: asked.sparsity ?? "dense" });
      const on = await runs.train(`${name}-on-${path === json}`, await small({ ...init, initAdapter: path, steps: 1 }));
      const loss = on.recording.firstLoss;
      if (path === json) expect(loss).toBe(result.validLoss ?? NaN);
      else expect(Math.abs(loss - (result.validLoss ?? NaN))).toBeLessThan(1e-5);
      const kept = await openAdapter(join(runs.folder.at(`${name}-on-${path === json}`), "adapter"));
      expect(kept.bases).toMatchObject({ rows_of_a: expect.any(Number) });
      await kept.close();
    }
  },
);
