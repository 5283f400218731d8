// Methods on the experts of gpt-oss, which a file has transposed, gate and up side by side, with biases, and here in MXFP4.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { placeUnmerged } from "../../adapters/merge/in-memory/beside.ts";
import { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { refusalOf } from "../../files/testing/folder.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import { writePackedExperts } from "../../models/testing/packed-experts.ts";
import type { AskedSettings } from "../settings/resolve-settings.ts";
import { METHOD_CASES } from "../testing/method-cases.ts";
import { writeTexts } from "../testing/runs.ts";
import { ShortRuns } from "../testing/short-runs.ts";
import { expectSlope } from "../testing/slope.ts";
import { copyTokenizer } from "../testing/walk-experts.ts";
import { logitsAfter } from "../../models/testing/logits.ts";

const EXPERTS = 3;
let runs: ShortRuns;
let model: string;
let valid: string;
beforeAll(async () => {
  runs = await ShortRuns.open({ data: 8, valid: 2 });
  valid = await writeTexts(runs.folder.at("same.jsonl"), 7);
  model = runs.folder.at("gpt-oss");
  // Tokens go to all experts: the loss has a slope, and none of them changes its experts.
  const sizes = { num_local_experts: EXPERTS, num_experts_per_tok: EXPERTS };
  await writePackedExperts(model, 1, { vocab_size: 512, ...sizes });
  await copyTokenizer(model);
});
afterAll(() => runs[Symbol.asyncDispose]());

function small(method: string, more: Partial<AskedSettings> = {}) {
  const targets = ["q_proj", "gate_up_proj", "down_proj"];
  return runs.plain({ valid, model, method, targets, gradAccum: 1, steps: 3, saveEvery: 2, evalEvery: 3, ...more });
}

/** @param adapter beside the weights */
async function logitsOf(path: string, adapter?: string): Promise<Float32Array> {
  using decoder = await loadDecoder(runs.gpu, path);
  const choices = adapter === undefined ? [] : [{ path: adapter, scale: 1 }];
  using placed = await placeUnmerged(decoder, path, choices);
  decoder.linears = placed.linears;
  return await logitsAfter(decoder, [3, 1, 4, 1, 5]);
}

/** Bases that scale, a parameter of all experts, and the norms of weights: the other methods read nothing else of the base. */
const { randlora, lora, dora } = METHOD_CASES;

test.each(Object.entries({ randlora, lora, dora }))("%s", async (method, { asked, trained }) => {
  const settings = await small(method, asked);
  await expectSlope(runs, model, settings, trained, 0.02);
  const { result } = await runs.train(method, settings);
  const adapter = join(runs.folder.at(method), "adapter");
  const { merged, out } = await runs.merge(adapter, `${method}-merged`, { base: model, dtype: "f32" });
  // LoRA adapts the parameters of all experts, as PEFT does.
  expect(merged).toBe(1 + 2 * EXPERTS);
  await using written = await Checkpoint.open(out);
  expect(written.get("model.layers.0.mlp.experts.gate_up_proj").info.shape).toEqual([EXPERTS, 32, 128]);
  await copyTokenizer(out);
  expect(Math.abs((await runs.lossOf(out, { valid })) / (result.validLoss ?? NaN) - 1)).toBeLessThan(1e-5);
  const [found, wanted] = [await logitsOf(model, adapter), await logitsOf(out)];
  const most = Math.max(...wanted.map(Math.abs));
  found.forEach((logit, token) => expect(Math.abs(logit - (wanted[token] ?? NaN))).toBeLessThan(1e-4 * most));
});

test("a parameter of all experts is LoRA's alone, and who asks for another method is told the modules", async () => {
  const refusal = await refusalOf(async () => {
    return runs.train("refused", await small("randlora", { targets: ["experts.down_proj"] }));
  });
  expect(refusal).toMatchObject({ code: "usage", hint: expect.stringContaining("(down_proj)") });
});
