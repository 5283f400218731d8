// What is made of a LoRA: adapters that other commands open, and training that goes on from one.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { writeLora } from "../../adapters/testing/lora.ts";
import { openAdapter } from "../../adapters/formats/open.ts";
import { initialSettings } from "../model/init-adapter.ts";
import { type AskedSettings, resolveSettings } from "../settings/resolve-settings.ts";
import { inputFor } from "../testing/runs.ts";
import { ShortRuns } from "../testing/short-runs.ts";
import { estimateRun } from "./finetune.ts";
import { refusalOf } from "../../files/testing/folder.ts";

let runs: ShortRuns;
beforeAll(async () => {
  runs = await ShortRuns.open({ data: 8, valid: 2 });
});
afterAll(() => runs[Symbol.asyncDispose]());

const small = (asked: Partial<AskedSettings>) => runs.plain({ method: "lora", steps: 3, learningRate: 5e-3, ...asked });

const q = (layer: number) => `model.layers.${layer}.self_attn.q_proj`;
const down = "model.layers.1.mlp.down_proj";

test("ranks and scales of single modules are kept", async () => {
  const lora = {
    r: 2,
    alpha: 4,
    seed: 1,
    modules: { [q(0)]: [64, 64], [down]: [64, 172] },
    ranks: { [down]: 5 },
  } as const;
  const path = await writeLora(runs.folder.at("patterns"), lora, {
    config: { alpha_pattern: { q_proj: 1 }, revision: "kept" },
  });
  const settings = await small({
    ...(await initialSettings(path, undefined)),
    initAdapter: path,
    steps: 1,
    dropout: 0.1,
  });
  const { method } = await estimateRun({ ...(await inputFor(settings)), gpu: runs.gpu });
  expect(method.modules.map(({ parameters }) => parameters)).toEqual([2 * 128, 5 * (64 + 172)]);
  await runs.train("patterns-on", settings);
  await using trained = await openAdapter(runs.folder.at("patterns-on"));
  expect(trained.config).toMatchObject({ rank_pattern: { [down]: 5 }, alpha_pattern: { q_proj: 1 }, revision: "kept" });
  expect(trained.config["lora_dropout"]).toBe(0.1);
  expect(trained.tensors.get(`${down}.lora_A.weight`)?.shape).toEqual([5, 172]);
  // One step of AdamW moves every number of A and B by about the learning rate, not to other places.
  const [before, after] = [await openAdapter(path), trained];
  const read = async (adapter: typeof before) =>
    new Float32Array((await adapter.tensors.get(`${q(0)}.lora_B.weight`)?.readAll())?.buffer ?? new ArrayBuffer());
  const [old, now] = [await read(before), await read(after)];
  await before.close();
  expect(old.length).toBe(128);
  old.forEach((value, at) => expect(Math.abs((now[at] ?? NaN) - value)).toBeLessThan(6e-3));
  expect(now).not.toEqual(old);
});

test("what contradicts the adapter, or goes beyond its factors, is refused", async () => {
  const lora = { r: 2, alpha: 4, seed: 1, modules: { [q(0)]: [64, 64] } } as const;
  const path = await writeLora(runs.folder.at("plain"), lora);
  const init = await initialSettings(path, undefined);
  const facts = { modelType: "llama", contextLength: 512, init };
  const asked = { model: STORIES, data: runs.data, initAdapter: path };
  expect(resolveSettings(asked, facts)).toMatchObject({ method: "lora", adapter: { rank: 2, alpha: 4 } });
  expect(() => resolveSettings({ ...asked, rank: 3 }, facts)).toThrow("--rank 3: the adapter of --init-adapter has 2");
  for (const method of ["randlora", "full"] as const) {
    expect(() => resolveSettings({ ...asked, method }, facts)).toThrow(
      method === "full" ? "--init-adapter has no meaning with --method full" : "--method randlora: the adapter",
    );
  }
  const head = await writeLora(runs.folder.at("head"), { ...lora, modules: { lm_head: [512, 64] } });
  const settings = await small({ ...(await initialSettings(head, undefined)), initAdapter: head });
  const refusal = await refusalOf(() => runs.train("never", settings));
  expect([refusal.code, refusal.message]).toEqual(["adapter", expect.stringContaining('it changes "lm_head.weight"')]);
  expect(await readFile(runs.folder.at("never", "metrics.jsonl"), "utf8").catch(() => "")).toBe("");
});

test("a rank that adds nothing is told, or refused before anything of its size is made", async () => {
  const settings = await runs.settings({
    method: "lora",
    rank: 40,
    steps: 5,
    warmup: 5,
    targets: ["q_proj", "v_proj"],
  });
  const { recording } = await runs.train("wide", { ...settings, valid: null });
  expect(recording.warnings).toEqual([
    "--eval-every: nothing is validated without --valid or --valid-split",
    expect.stringContaining("--warmup 5"),
    expect.stringMatching(/^LoRA's rank 40 is more than ΔW of 2 of 4 modules can have: 32 of .*v_proj \(32 × 64\)$/),
  ]);
  const { method } = await estimateRun(await inputFor({ ...settings, valid: null }));
  expect(method.notes).toEqual(recording.warnings);
  // Up to 1024 none is refused, whatever the model's size: PEFT takes them (see interop, gemma2 with rank 200).
  for (const [method, wrong, flag = "rank"] of [
    ["lora", { rank: 600_000 }],
    ["dora", { rank: 1025 }],
    ["randlora", { rank: 200_000 }],
    ["vera", { rank: 1025 }],
    ["hybrid", { rank: 4, loraRank: 600_000 }, "lora-rank"],
  ] as const) {
    const asked = await runs.settings({ method, ...wrong });
    const message = expect.stringMatching(new RegExp(`^--${flag} \\d+: the largest adapted layer is 64 × 64$`));
    const refusal = { code: "usage", message, hint: `give --${flag} 1024 or less` };
    await expect(estimateRun(await inputFor(asked))).rejects.toMatchObject(refusal);
  }
});
