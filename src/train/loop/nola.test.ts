// What is made of a NoLA: training under every condition, adapters that other commands open, and going on from one.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { openAdapter } from "../../adapters/formats/open.ts";
import { refusalOf } from "../../files/testing/folder.ts";
import { initialSettings } from "../model/init-adapter.ts";
import { type AskedSettings, resolveSettings } from "../settings/resolve-settings.ts";
import { ShortRuns } from "../testing/short-runs.ts";
import { LAYERS } from "../testing/small-model.ts";

let runs: ShortRuns;
beforeAll(async () => {
  runs = await ShortRuns.open({ data: 8, valid: 2 });
});
afterAll(() => runs[Symbol.asyncDispose]());

const small = (asked: Partial<AskedSettings>) =>
  runs.plain({ method: "nola", steps: 3, learningRate: 2e-2, bases: 40, rank: 4, ...asked });

test("by default 1024 bases, rank 8, alpha 16, a rate of 3e-4", () => {
  const facts = { modelType: "llama", contextLength: 512 };
  const settings = resolveSettings({ model: STORIES, data: runs.data, method: "nola" }, facts);
  expect(settings).toMatchObject({
    learningRate: 3e-4,
    adapter: { rank: 8, alpha: 16, bases: 1024, basisSeed: "0", targets: ["q_proj", "v_proj"] },
  });
  const paper = { model: STORIES, data: runs.data, method: "nola", compute: "merged" } as const;
  expect(() => resolveSettings(paper, facts)).toThrow("--compute has no meaning with --method nola");
  const many = { model: STORIES, data: runs.data, method: "nola", bases: 2 ** 24 + 1 } as const;
  expect(() => resolveSettings(many, facts)).toThrow("--bases 16777217: at most 16777216");
  const init = { method: "nola", bases: 40 } as const;
  const contradicting = { model: STORIES, data: runs.data, initAdapter: "a", bases: 41 };
  expect(() => resolveSettings(contradicting, { ...facts, init })).toThrow("--bases 41: the adapter of --init-adapter");
});

test("a rank beyond all models is refused, and not tried", async () => {
  const begun = runs.train("huge", await small({ rank: Number.MAX_SAFE_INTEGER }));
  await expect(begun).rejects.toThrow("the largest adapted layer is 64 × 64");
});

test("a first step changes B's coefficients alone, since B is zero; recomputing and micro-batches change no more than rounding", async () => {
  const coefficients = async (name: string, asked: Partial<AskedSettings>) => {
    const settings = await small({ steps: 1, valid: null, shuffle: false, ...asked });
    await runs.train(name, settings);
    await using adapter = await openAdapter(runs.folder.at(name));
    const read = async (side: string) => {
      const found = [...adapter.tensors].filter(([tensor]) => tensor.endsWith(side));
      const bytes = await Promise.all(found.map(async ([, tensor]) => await tensor.readAll()));
      return bytes.flatMap((one) => [...new Float32Array(one.buffer)]);
    };
    return { a: await read("_A"), b: await read("_B") };
  };
  const whole = await coefficients("whole", { batchSize: 4, gradAccum: 1 });
  expect(whole.a.every((value) => value === 0)).toBe(true);
  expect(whole.b.length).toBe(LAYERS * 2 * 40);
  expect(whole.b.every((value) => Math.abs(value) > 0.019 && Math.abs(value) < 0.021)).toBe(true);
  expect(await coefficients("recomputed", { batchSize: 4, gradAccum: 1, checkpointActivations: true })).toEqual(whole);
  const three = { steps: 3, dropout: 0.1, batchSize: 4 } as const;
  const [plain, again] = [
    await coefficients("a", three),
    await coefficients("b", { ...three, checkpointActivations: true }),
  ];
  expect(again).toEqual(plain);
  const parts = await coefficients("parts", { batchSize: 2, gradAccum: 2 });
  parts.b.forEach((value, at) => expect(Math.abs(value - (whole.b[at] ?? NaN))).toBeLessThan(1e-4));
});

test("an adapter that was changed is refused before anything is trained", async () => {
  const { result } = await runs.train("changed", await small({ steps: 1 }));
  expect(result.steps).toBe(1);
  const config = join(runs.folder.at("changed"), "adapter", "adapter_config.json");
  const text = await Bun.file(config).text();
  await Bun.write(config, text.replace('"projection_prng_key": 0', '"projection_prng_key": 1'));
  const path = join(runs.folder.at("changed"), "adapter");
  const settings = await small({ ...(await initialSettings(path, undefined)), initAdapter: path, steps: 1 });
  const refusal = await refusalOf(() => runs.train("never", settings));
  expect([refusal.code, refusal.message]).toEqual([
    "adapter",
    expect.stringContaining("are not those that the adapter records"),
  ]);
});
