// Runs of RandLoRA with half of the bases: the adapters that come of them, resuming, going on.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { openAdapter } from "../../adapters/open.ts";
import { merge } from "../../adapters/merge/to-files/run.ts";
import { Notes, OPTIONS } from "../../adapters/merge/testing/merge.ts";
import { initialSettings } from "../model/init-adapter.ts";
import { outcomeOf } from "../testing/runs.ts";
import { ShortRuns } from "../testing/short-runs.ts";

let runs: ShortRuns;
beforeAll(async () => {
  runs = await ShortRuns.open();
});
afterAll(() => runs[Symbol.asyncDispose]());

test.each(["merged", "factored"] as const)("half-rank, %s: trained, resumed, merged, gone on with", async (compute) => {
  const asked = { variant: "half-rank", compute, steps: 4, dropout: 0.1 } as const;
  const settings = await runs.settings({ ...asked, targets: ["q_proj", "down_proj"], learningRate: 2e-2 });
  const { result, recording } = await runs.train(`${compute}-whole`, settings);
  // m = 64 and r = 8: four bases of eight, in ten modules.
  expect(result.trainableParameters).toBe(10 * 4 * (8 + 64));
  expect(result.validLoss ?? NaN).toBeLessThan((recording.metrics[0] as { valid_loss: number }).valid_loss);
  if (compute === "merged") {
    await runs.trainInParts("parts", settings);
    expect(await outcomeOf(runs.folder.at("parts"))).toEqual(await outcomeOf(runs.folder.at("merged-whole")));
  }

  const path = runs.folder.at(`${compute}-whole`, "adapter");
  {
    await using adapter = await openAdapter(path);
    expect(adapter.config["peft_type"]).toBe("RANDLORA_HALF_RANK");
    // The pair is PEFT's, whole.
    expect(adapter.tensors.get("base_model.randlora_B")?.shape).toEqual([172, 8, 8]);
    expect(adapter.bases).toMatchObject({ pairing: "peft", max: 172, min: 64 });
  }
  const out = runs.folder.at(`${compute}-merged`);
  const merging = { ...OPTIONS, base: STORIES, adapters: [path], out };
  expect((await merge(merging, new Notes(), new AbortController().signal)).merged).toBe(10);

  const init = await initialSettings(path);
  expect(init).toMatchObject({ variant: "half-rank", rank: 8 });
  const on = await runs.settings({ ...init, compute, dropout: 0.1, steps: 1, initAdapter: path });
  const { recording: then } = await runs.train(`${compute}-on`, on);
  expect(then.metrics[0]).toEqual({ step: 0, valid_loss: result.validLoss ?? NaN });
});
