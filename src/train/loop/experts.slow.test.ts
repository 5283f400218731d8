import { expect, test } from "bun:test";
import { join } from "node:path";
import { writeArchitecture } from "../../models/testing/architectures.ts";
import type { AskedSettings } from "../settings/resolve-settings.ts";
import { refusalOf } from "../../files/testing/folder.ts";
import { METHOD_CASES } from "../testing/method-cases.ts";
import { copyTokenizer, walkExperts } from "../testing/walk-experts.ts";

// Scaled bases and low rank; the others, which are made of those, are in methods-experts.slow.test.ts.
const { randlora, lora } = METHOD_CASES;
const experts = walkExperts({ randlora, lora });

test("models trained whole have the tensors of all experts that their base has", async () => {
  const { runs, model } = experts();
  for (const kind of ["", "-fused"]) {
    await runs.train(`full${kind}`, await experts().settings("full", { model: model + kind, gradAccum: 1, steps: 1 }));
  }
  await experts().expectSameWeights(runs.folder.at("full-fused", "model"), runs.folder.at("full", "model"));
});

test("LFM2-MoE, whose experts are chosen with a bias: what a hybrid on routers and experts trained is what is merged", async () => {
  const { runs } = experts();
  const lfm = runs.folder.at("lfm2");
  const sizes = { num_experts: 6, num_dense_layers: 1, layer_types: ["conv", "full_attention", "conv"] };
  await writeArchitecture(lfm, "lfm2_moe", 3, { vocab_size: 512, hidden_size: 36, ...sizes });
  await copyTokenizer(lfm);
  const targets = ["in_proj", "w1", "w3", "w2", "gate"];
  const asked = { targets, rank: 4, learningRate: 3e-2, gradAccum: 1, evalEvery: 3 };
  const { result } = await runs.train("hybrid-lfm2", await experts().settings("hybrid", { model: lfm, ...asked }));
  // The last one: a run stands for its best adapter.
  const { out } = await runs.merge(join(runs.folder.at("hybrid-lfm2"), "adapter"), "lfm2-merged", { base: lfm });
  expect(Math.abs((await experts().lossOf(out)) / (result.validLoss ?? NaN) - 1)).toBeLessThan(1e-5);
});

test.each([
  ["of experts", "mixtral", { hidden_size: 38, num_local_experts: 3, num_experts_per_tok: 3 }, {}],
  [
    "of a delta rule's six heads, which take eight places",
    "qwen3_5_text",
    { linear_num_key_heads: 3, linear_num_value_heads: 6 },
    { targets: ["in_proj_z", "in_proj_b", "in_proj_a"] },
  ],
])(
  "magnitudes of outputs that are no multiple of 4 are merged to what was trained: %s",
  async (_, type, sizes, own) => {
    const { runs, model } = experts();
    const odd = `${model}-odd-${type}`;
    await writeArchitecture(odd, type, 2, { vocab_size: 512, ...sizes });
    await copyTokenizer(odd);
    const { result } = await runs.train(
      `odd-${type}`,
      await experts().settings("dora", { model: odd, gradAccum: 1, ...own }),
    );
    const { out } = await runs.merge(runs.folder.at(`odd-${type}`), `odd-${type}-merged`, { base: odd });
    expect(Math.abs((await experts().lossOf(out)) / (result.validLoss ?? NaN) - 1)).toBeLessThan(1e-5);
  },
);

test("what experts cannot have is refused by name", async () => {
  const refusal = async (method: string, more: Partial<AskedSettings>) =>
    await refusalOf(async () => experts().runs.train("refused", await experts().settings(method, more)));
  expect(await refusal("randlora", { dropout: 0.1 })).toMatchObject({
    code: "usage",
    message: expect.stringContaining("--dropout 0.1"),
  });
  expect(await refusal("vera", { targets: ["experts.gate_up_proj"] })).toMatchObject({
    code: "usage",
    message: expect.stringContaining("adapted by LoRA alone"),
    hint: expect.stringContaining("(w1|w3)"),
  });
  expect(await refusal("nola", { targets: ["experts.1.w2"] })).toMatchObject({
    code: "usage",
    message: expect.stringContaining("1 of 3 experts"),
  });
});
