import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { type BaseModel, describeBase } from "../../adapters/base/base.ts";
import { refusalOf } from "../../files/testing/folder.ts";
import { readConfig } from "../../models/folder/config-json.ts";
import { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { type ComparisonWish, plannedParameters, plannedRuns, planComparison, sizeIn } from "./plan.ts";
import { readSwept, recordedSpecs } from "./read-methods.ts";
import { formatRecord, parseDrawn, parseRecord, type Given, resumedComparison } from "./record.ts";
import type { RunResult } from "./options.ts";
import { familyOf, type Wish } from "./types.ts";

let checkpoint: Checkpoint;
let base: BaseModel;
beforeAll(async () => {
  checkpoint = await Checkpoint.open(STORIES);
  base = describeBase(checkpoint, (await readConfig(STORIES))?.value);
});
afterAll(() => checkpoint.close());

const wish = (method: string, flags: Wish["flags"] = {}, learningRate?: number): Wish => {
  return { label: [method, ...Object.keys(flags)].join("+"), method, flags, learningRate };
};

/** q_proj, (64, 64) in each of five layers: LoRA of rank r trains 640 · r. */
function plan(more: Partial<ComparisonWish> = {}) {
  return planComparison({
    wishes: [wish("lora")],
    budgets: [2000],
    seeds: 2,
    forgetting: 0,
    leastRate: 0,
    common: { model: STORIES, data: "data.jsonl", targets: ["q_proj"] },
    facts: { modelType: "llama", contextLength: 512 },
    base,
    ...more,
  });
}

describe("sizes", () => {
  test("are the nearest to each budget; one that trains the model itself is there once, and bound by none", () => {
    const wishes = [wish("full"), wish("lora"), wish("randlora", { sparsity: "sparse" })];
    const comparison = plan({ wishes, budgets: [5000, 2000, 2000] });
    expect(comparison.budgets).toEqual([2000, 5000]);
    const found = comparison.contenders.map((one) => [
      one.label,
      one.budget,
      sizeIn(one)?.value,
      plannedParameters(one, base),
    ]);
    // RandLoRA: ⌈64/r⌉ · (r + 64) a layer.
    const randlora = (r: number) => 5 * Math.ceil(64 / r) * (r + 64);
    expect(found).toEqual([
      ["lora", 2000, 3, 1920],
      ["randlora+sparsity", 2000, 15, randlora(15)],
      ["lora", 5000, 8, 5120],
      ["randlora+sparsity", 5000, 4, randlora(4)],
      ["full", null, undefined, undefined],
    ]);
    for (const { settings } of comparison.contenders)
      expect(settings.adapter?.targets ?? ["q_proj"]).toEqual(["q_proj"]);
    expect(comparison.contenders[0]?.settings.adapter).toMatchObject({ rank: 3, alpha: 6 });
  });

  test("follow another method, or the usual size of the first one, moved where more methods are in the contest", () => {
    expect(plan({ budgets: { wish: wish("lora"), size: 4 } })).toMatchObject({ budgets: [2560], like: "lora:4" });
    const usual = plan({ budgets: undefined, wishes: [wish("full"), wish("randlora")] });
    expect(usual).toMatchObject({ budgets: [5 * 2 * (32 + 64)], like: null });
    const withLora = plan({ budgets: undefined, wishes: [wish("randlora"), wish("lora")] });
    expect(withLora).toMatchObject({ budgets: [5 * 128], like: null });
    const withDora = plan({ budgets: undefined, wishes: [wish("randlora"), wish("lora"), wish("dora")] });
    expect(withDora.budgets).toEqual(usual.budgets);
    expect(withLora.contenders.at(-1)).toMatchObject({ settings: { adapter: { rank: 1 } } });
  });

  test("of a method are the same whatever else is compared, and learning rates the usual ones", () => {
    const { contenders } = plan({ wishes: [wish("lora"), wish("randlora", {}, 0.5)], leastRate: 1e-3 });
    expect(contenders.map(({ settings }) => settings.learningRate)).toEqual([1e-3, 0.5]);
  });

  test.each([
    [
      { budgets: [100] },
      "--params 100: no method has about so many trainable parameters",
      "the nearest is lora with 640",
    ],
    [
      { budgets: [1e9] },
      "--params 1B: no method has about so many trainable parameters",
      "the nearest is lora with 40,960",
    ],
    [{ budgets: { wish: wish("c3a"), size: 7 } }, "--like c3a:7: these modules have no c3a of rank 7", "another rank"],
    [{ wishes: [wish("full")], budgets: undefined }, "--methods: no method that trains less", ""],
    [{ budgets: { wish: wish("full"), size: 8 } }, "--like: no method that trains less", ""],
    [{ budgets: { wish: wish("lora"), size: 65 } }, "--like lora:65: its largest rank", "at most 64"],
    [
      { wishes: [wish("lora", { rank: 4 })] },
      "lora+rank: --rank follows from the number of parameters",
      "--like lora:RANK",
    ],
    [{ wishes: [wish("lora", { sparsity: "sparse" })] }, "--sparse has no meaning with --method lora", ""],
    [{ wishes: [wish("full", { sparsity: "sparse" })] }, "--sparse has no meaning with --method full", ""],
    [{ common: { model: STORIES, data: "d", targets: ["nothing"] } }, "--targets nothing", ""],
  ] satisfies [Partial<ComparisonWish>, string, string][])("%j is refused", async (more, message, hint) => {
    const refusal = await refusalOf(() => plan(more));
    expect([refusal.code, refusal.message, refusal.hint]).toEqual([
      "usage",
      expect.stringContaining(message),
      expect.stringContaining(hint),
    ]);
  });
});

test("runs are interleaved by seed; folders of several budgets tell them apart", () => {
  const common = { model: STORIES, data: "d", targets: ["q_proj"], seed: 7 };
  const names = (budgets: number[]) =>
    plannedRuns(plan({ wishes: [wish("lora"), wish("full")], budgets, common })).map(({ name }) => name);
  expect(names([2000])).toEqual(["lora-seed-7", "full-seed-7", "lora-seed-8", "full-seed-8"]);
  expect(names([2000, 5000]).slice(0, 3)).toEqual(["lora-2000-seed-7", "lora-5000-seed-7", "full-seed-7"]);
  const last = { ...common, seed: Number.MAX_SAFE_INTEGER };
  const ofLast = plannedRuns(plan({ wishes: [wish("lora")], common: last })).map(({ settings }) => settings.seed);
  expect(ofLast).toEqual([Number.MAX_SAFE_INTEGER, 0]);
  // No label leaves the folder.
  const away = { ...wish("lora"), label: "../lora/x" };
  expect(plannedRuns(plan({ wishes: [away] }))[0]?.name).toBe(".._lora_x-seed-0");
});

const RESULT: RunResult = {
  method: "lora",
  budget: 2000,
  seed: 1,
  parameters: 1920,
  steps: 3,
  loss: 0.1 + 0.2,
  valid_loss: null,
  best_valid_loss: null,
  accuracy: null,
  seconds: 1.5,
  peak_bytes: 1000,
  error: null,
};

describe("compare.json", () => {
  test("comes back as it was", () => {
    const record = { comparison: plan({ wishes: [wish("lora"), wish("full")] }), results: [RESULT] };
    expect(parseRecord(JSON.parse(formatRecord(record)), "compare.json")).toEqual(record);
  });

  test.each([
    [{ version: 2 }, '"version"'],
    [{ budgets: [0] }, '"budgets.0"'],
    [{ seeds: 1e300 }, '"seeds"'],
    [{ seeds: 2 ** 40 }, '"seeds"'],
    [{ forgetting: 1e12 }, '"forgetting"'],
    [{ methods: [] }, '"methods"'],
    [{ methods: [{ method: "lora", budget: 1, settings: { method: "lora" } }] }, "compare.json: lora: "],
    [{ more: 1 }, '"more"'],
    [{ results: [{ ...RESULT, seed: 9 }] }, '"lora" with seed 9 is no run of it'],
    [{ results: [RESULT, RESULT] }, '"lora" with seed 1 is no run of it, or is there twice'],
    [{ results: [{ ...RESULT, loss: "low" }] }, '"results.0.loss"'],
  ])("%j is refused", async (change, message) => {
    const json = JSON.parse(formatRecord({ comparison: plan(), results: [] }));
    const refusal = await refusalOf(() => parseRecord({ ...json, ...change }, "compare.json"));
    expect([refusal.code, refusal.message]).toEqual(["format", expect.stringContaining(message)]);
  });
});

test("texts that were drawn are read with their losses, else the file is named", async () => {
  const drawn = { texts: [[1, 2, 3]], base: { nll: 0.5, sums: [{ nll: 1, tokens: 2 }] } };
  expect(parseDrawn({ ...drawn, base: { ...drawn.base, tokens: 2 } }, "f")).toEqual(drawn);
  for (const texts of [[[1.5, 2, 3]], [[1, 2]], [[1, 2, 3], [1]]]) {
    const refusal = await refusalOf(() => parseDrawn({ ...drawn, texts }, "forgetting.json"));
    expect([refusal.code, refusal.message]).toEqual(["format", expect.stringContaining("forgetting.json: ")]);
  }
});

describe("a resumed comparison", () => {
  const NOTHING: Given = {
    labels: undefined,
    budgets: undefined,
    like: undefined,
    seeds: undefined,
    forgetting: undefined,
    rates: new Map(),
    alphas: new Map(),
    common: {},
  };

  test("may have more seeds, and what it has already", () => {
    const recorded = plan({ wishes: [wish("lora"), wish("full")] });
    expect(resumedComparison(recorded, NOTHING)).toEqual(recorded);
    const common = { model: STORIES, seed: 0, epochs: 1, targets: ["q_proj"], saveEvery: 7, keep: 2 };
    const same = { labels: ["full", "lora"], budgets: [2000], rates: new Map([["lora", [1e-4]]]), common };
    expect(resumedComparison(recorded, { ...NOTHING, ...same, seeds: 5 })).toEqual({ ...recorded, seeds: 5 });
  });

  test("may leave methods out, which it remembers", () => {
    const recorded = plan({ wishes: [wish("lora"), wish("full")] });
    const fewer = resumedComparison(recorded, { ...NOTHING, labels: ["lora"] });
    expect(fewer).toEqual({ ...recorded, contenders: recorded.contenders.slice(0, 1), dropped: ["full"] });
  });

  test("a method's name means all of its values", () => {
    const wishes = ["lora@1e-4", "lora@3e-4", "full"].map((label) => ({ ...wish(familyOf(label)), label }));
    const recorded = plan({ wishes });
    const resumed = resumedComparison(recorded, { ...NOTHING, labels: ["lora"] });
    expect(resumed.contenders.map(({ label }) => label)).toEqual(["lora@1e-4", "lora@3e-4"]);
    expect(resumed.dropped).toEqual(["full"]);
    expect(plannedRuns(recorded)[1]?.name).toBe("lora_3e-4-seed-0");
  });

  test("may name the values that were swept, all of them", () => {
    const wishes = [1e-4, 3e-4].map((rate) => ({ ...wish("lora", {}, rate), label: `lora@${rate}` }));
    const recorded = plan({ wishes });
    const rates = new Map(wishes.map(({ label }) => [label, [1e-4, 3e-4]]));
    expect(resumedComparison(recorded, { ...NOTHING, rates })).toEqual(recorded);
  });

  test("a rate for all is not meant for a method that was listed with its own", () => {
    const wishes = [{ ...wish("lora", {}, 1e-3), label: "lora@0.001" }, wish("randlora", {}, 3e-4)];
    const recorded = plan({ wishes });
    const given = (learningRate: string) => {
      return {
        ...NOTHING,
        ...readSwept({ learningRate: [learningRate], alpha: [] }, recordedSpecs(recorded.contenders)),
      };
    };
    expect(resumedComparison(recorded, given("3e-4"))).toEqual(recorded);
    expect(() => resumedComparison(recorded, given("1e-3"))).toThrow("--learning-rate randlora=0.001: ");
    expect(() => given("lora=1e-3")).toThrow("--methods lora@0.001: both say a value");
  });

  test.each([
    [{ labels: ["vera"] }, "--methods vera: the comparison cannot be resumed with another value; it had lora,full"],
    [{ budgets: [2000, 3000] }, "--params 2000,3000: "],
    [{ like: "lora:3" }, "--like lora:3: the comparison cannot be resumed with another value; it had none"],
    [{ seeds: 1 }, "--seeds 1: "],
    [
      { rates: new Map([["lora", [1]]]) },
      "--learning-rate lora=1: the comparison cannot be resumed with another value; it had 0.0001",
    ],
    [{ rates: new Map([["lora", [1e-4, 2]]]) }, "--learning-rate lora=0.0001,2: "],
    [{ alphas: new Map([["lora", [3, 5]]]) }, "--alpha lora=3,5: "],
    [{ common: { steps: 6 } }, "--steps 6: the comparison cannot be resumed with another value; it had none"],
    [{ common: { evalEvery: 6 } }, "--eval-every 6: "],
    [{ common: { seed: 1 } }, "--seed 1: "],
    [{ common: { targets: "all-linear" } }, "--targets all-linear: "],
    [{ common: { model: "other" } }, "MODEL other: "],
  ])("with %j is refused", async (given, message) => {
    const recorded = plan({ wishes: [wish("lora"), wish("full")] });
    const refusal = await refusalOf(() => resumedComparison(recorded, { ...NOTHING, ...given }));
    expect([refusal.code, refusal.message]).toEqual(["usage", expect.stringContaining(message)]);
  });
});
