// Runs of RandLoRA with half of the bases: the adapters that come of them, resuming, going on.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { openAdapter } from "../../adapters/formats/open.ts";
import { initialSettings } from "../model/init-adapter.ts";
import { ShortRuns } from "../testing/short-runs.ts";
import { LAYERS } from "../testing/small-model.ts";

let runs: ShortRuns;
beforeAll(async () => {
  runs = await ShortRuns.open();
});
afterAll(() => runs[Symbol.asyncDispose]());

test.each(["merged", "factored"] as const)("half-rank, %s: trained, resumed, merged, gone on with", async (compute) => {
  const asked = { variant: "half-rank", compute, steps: 4, dropout: 0.1 } as const;
  const settings = await runs.settings({ ...asked, targets: ["q_proj", "down_proj"], learningRate: 2e-2 });
  const { result, recording } = await runs.train(`${compute}-whole`, settings);
  // m = 64 and r = 8: four bases of eight, in two modules a layer.
  expect(result.trainableParameters).toBe(2 * LAYERS * 4 * (8 + 64));
  expect(result.validLoss ?? NaN).toBeLessThan(recording.firstLoss);
  if (compute === "merged") {
    await runs.trainInParts("parts", settings);
    expect(await runs.outcome("parts")).toEqual(await runs.outcome("merged-whole"));
  }

  const path = runs.folder.at(`${compute}-whole`, "adapter");
  {
    await using adapter = await openAdapter(path);
    expect(adapter.config["peft_type"]).toBe("RANDLORA_HALF_RANK");
    // The pair is PEFT's, whole.
    expect(adapter.tensors.get("base_model.randlora_B")?.shape).toEqual([172, 8, 8]);
    expect(adapter.bases).toMatchObject({ pairing: "peft", max: 172, min: 64 });
  }
  expect((await runs.merge(path, `${compute}-merged`)).merged).toBe(2 * LAYERS);

  const init = await initialSettings(path);
  expect(init).toMatchObject({ variant: "half-rank", rank: 8 });
  const on = await runs.settings({ ...init, compute, dropout: 0.1, steps: 1, initAdapter: path });
  const { recording: then } = await runs.train(`${compute}-on`, on);
  expect(then.metrics[0]).toEqual({ step: 0, valid_loss: result.validLoss ?? NaN });
});
