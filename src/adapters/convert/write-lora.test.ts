import { SILENT } from "../../terminal/progress.ts";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice, TEST_DEVICE } from "../../compute/device/testing/open.ts";
import { itemAt } from "../../files/item-at.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { compareDeltas } from "../../measure/inspect/spectrum.ts";
import { openModel } from "../base/named-base.ts";
import { openDeltas } from "../merge/in-memory/deltas.ts";
import { type TestAdapter, weights, writeAdapter, writeModel } from "../merge/testing/models.ts";
import { openAdapter } from "../formats/open.ts";
import { f32, numbers } from "../testing/adapters.ts";
import { type TestLora, writeLora as writeTestLora } from "../testing/lora.ts";
import { type WriteLoraOptions, writeLora } from "./write-lora.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const Q = "model.layers.0.q_proj";
const UP = "model.layers.0.up_proj";
/** Numbers without a pattern, so that ΔW has the whole rank. */
const number = (index: number) => ((Math.imul(index + 1, 0x9e3779b1) ^ (index * index)) >>> 0) / 2 ** 31 - 1;
const LORA: TestLora = { number, r: 6, alpha: 12, seed: 1, modules: { [Q]: [20, 20], [UP]: [9, 20] } };

const convert = async (
  path: string,
  options: Partial<WriteLoraOptions> & { readonly out: string },
  signal?: AbortSignal,
  warn: (text: string) => void = () => {},
) =>
  await writeLora(
    path,
    {
      rank: undefined,
      energy: undefined,
      base: undefined,
      generator: undefined,
      force: false,
      device: TEST_DEVICE,
      ...options,
    },
    { ...SILENT, log: { warn } },
    signal ?? new AbortController().signal,
  );

/** ‖ΔW − other ΔW‖ / ‖ΔW‖. */
async function distance(path: string, other: string, base?: string): Promise<number | null> {
  const choice = { layers: [], base: base === undefined ? undefined : async () => await openModel(base) };
  await using one = await openDeltas(gpu, path, choice);
  await using two = await openDeltas(gpu, other, choice);
  return (await compareDeltas(one, two, () => {})).all.relative;
}

describe("ranks", () => {
  test("that are asked for are those of all modules that can have them, and what is left out is told", async () => {
    await using folder = await TemporaryFolder.create();
    const path = await writeTestLora(folder.at("a"), LORA);
    const { modules, all, tensors } = await convert(path, { out: folder.at("out"), rank: 4 });
    expect([tensors, modules.map(({ rank }) => rank)]).toEqual([4, [4, 4]]);
    expect(await distance(path, folder.at("out"))).toBeCloseTo(all.error / all.norm, 5);
    expect(all.energy).toBeCloseTo(1 - (all.error / all.norm) ** 2, 12);
    await using adapter = await openAdapter(folder.at("out"));
    // Scales of 1 without patterns: what programs that know no patterns assume.
    expect(adapter.settings).toMatchObject({
      peft_type: "LORA",
      r: 4,
      lora_alpha: 4,
      rank_pattern: {},
      alpha_pattern: {},
    });
  });

  test("end at the shorter side; what is beyond the rank of ΔW is zero", async () => {
    await using folder = await TemporaryFolder.create();
    const path = await writeTestLora(folder.at("a"), LORA);
    const { modules, all } = await convert(path, { out: folder.at("out"), rank: 1000 });
    expect(modules.map(({ rank }) => rank)).toEqual([20, 9]);
    expect(all.error / all.norm).toBeLessThan(1e-6);
    expect(await distance(path, folder.at("out"))).toBeLessThan(1e-6);
    await using adapter = await openAdapter(folder.at("out"));
    const patterns = { rank_pattern: { [UP]: 9 }, alpha_pattern: { [UP]: 9 } };
    expect(adapter.settings).toMatchObject({ r: 20, lora_alpha: 20, ...patterns });
    const a = new Float32Array(
      (await adapter.tensors.get(`${Q}.lora_A.weight`)?.readAll())?.buffer ?? new ArrayBuffer(),
    );
    expect(a.subarray(6 * 20).every((value) => value === 0)).toBe(true);
  });

  test("follow from the energy, module by module, and a rank beside it is the highest", async () => {
    await using folder = await TemporaryFolder.create();
    const path = await writeTestLora(folder.at("a"), LORA);
    const { modules, all } = await convert(path, { out: folder.at("out"), energy: 0.9 });
    for (const { energy } of modules) expect(energy).toBeGreaterThanOrEqual(0.9);
    for (const { rank } of modules) expect(rank).toBeLessThan(6);
    expect(await distance(path, folder.at("out"))).toBeCloseTo(all.error / all.norm, 5);
    const whole = await convert(path, { out: folder.at("whole"), energy: 1 });
    expect(whole.modules.map(({ rank }) => rank)).toEqual([6, 6]);
    const capped = await convert(path, { out: folder.at("capped"), energy: 1, rank: 2 });
    expect(capped.modules.map(({ rank }) => rank)).toEqual([2, 2]);
  });

  test("of a ΔW that is zero: factors of zeros, and a warning", async () => {
    await using folder = await TemporaryFolder.create();
    const path = await writeTestLora(folder.at("a"), { ...LORA, number: () => 0 });
    const warned: string[] = [];
    const warn = (text: string) => void warned.push(text);
    const { modules, all } = await convert(path, { out: folder.at("out"), energy: 0.5 }, undefined, warn);
    expect(warned).toEqual([expect.stringContaining("ΔW is zero")]);
    expect([modules.map(({ rank }) => rank), all]).toEqual([[1, 1], { norm: 0, error: 0, energy: 1 }]);
    expect((await convert(path, { out: folder.at("more"), rank: 3 })).modules.map(({ rank }) => rank)).toEqual([3, 3]);
  });
});

test("of weights that are stored (in, out) A still reads inputs", async () => {
  await using folder = await TemporaryFolder.create();
  const module = "h.0.attn.c_attn";
  const tensors = { [`${module}.weight`]: weights("F32", [12, 36], 1) };
  const base = await writeModel(folder.at("base"), { tensors, config: { model_type: "gpt2" } });
  const adapter: TestAdapter = { r: 4, alpha: 8, seed: 2, modules: { [module]: [36, 12] } };
  const path = await writeAdapter(folder.at("a"), adapter, { config: { fan_in_fan_out: true } });
  const found = async () => await openModel(base);
  const { modules } = await convert(path, { out: folder.at("out"), energy: 1, base: found });
  const rank = modules[0]?.rank ?? 0;
  expect(rank).toBeWithin(4, 13);
  await using lora = await openAdapter(folder.at("out"));
  const shapes = ["lora_A", "lora_B"].map((name) => lora.tensors.get(`${module}.${name}.weight`)?.shape);
  expect([shapes, lora.settings["fan_in_fan_out"]]).toEqual([
    [
      [rank, 12],
      [36, rank],
    ],
    true,
  ]);
  expect(await distance(path, folder.at("out"), base)).toBeLessThan(2e-6);
});

test("what the adapter replaces whole comes along, which takes the base", async () => {
  await using folder = await TemporaryFolder.create();
  const names = { [`${Q}.weight`]: [20, 20], "score.weight": [3, 20], [`${Q}.bias`]: [20] } as const;
  const tensors = Object.fromEntries(Object.entries(names).map(([name, shape], i) => [name, weights("F32", shape, i)]));
  const base = await writeModel(folder.at("base"), { tensors, config: { model_type: "llama" } });
  const path = await writeTestLora(
    folder.at("a"),
    { ...LORA, modules: { [Q]: [20, 20] } },
    {
      config: { modules_to_save: ["score"], bias: "lora_only", base_model_name_or_path: "nobody/knows" },
      tensors: {
        "base_model.model.score.weight": numbers([3, 20]),
        [`base_model.model.${Q}.base_layer.bias`]: f32([20], new Float32Array(20).fill(2)),
      },
    },
  );
  await writeFile(folder.at("a", "classes.json"), '["a", "b", "c"]');
  const refusal = await refusalOf(() => convert(path, { out: folder.at("out"), rank: 2 }));
  expect([refusal.code, refusal.hint]).toEqual(["adapter", expect.stringContaining("--base MODEL")]);
  const { tensors: count } = await convert(path, {
    out: folder.at("out"),
    rank: 2,
    base: async () => await openModel(base),
  });
  expect(count).toBe(4);
  await using lora = await openAdapter(folder.at("out"));
  expect(lora.settings).toMatchObject({ modules_to_save: ["score"], bias: "lora_only" });
  const score = lora.tensors.get("score.weight");
  expect(await score?.readAll()).toEqual(new Uint8Array(itemAt([numbers([3, 20])], 0).data));
  expect(await Bun.file(folder.at("out", "classes.json")).text()).toBe('["a", "b", "c"]');
});

describe("of a mixture of experts", () => {
  const GATE = "model.layers.0.mlp.gate";
  const CONFIG = { model_type: "qwen3_moe" };

  test("a router is a parameter again, and its rank is held to its path", async () => {
    await using folder = await TemporaryFolder.create();
    const names = { [`${Q}.weight`]: [20, 20], [`${GATE}.weight`]: [3, 20] } as const;
    const tensors = Object.fromEntries(
      Object.entries(names).map(([name, shape], i) => [name, weights("F32", shape, i)]),
    );
    const base = await writeModel(folder.at("base"), { tensors, config: CONFIG });
    const modules: TestLora["modules"] = { [Q]: [20, 20], [GATE]: [3, 20] };
    const path = await writeTestLora(
      folder.at("a"),
      { ...LORA, modules, ranks: {} },
      {
        config: { target_modules: ["q_proj"], target_parameters: ["mlp.gate.weight"] },
      },
    );
    const found = async () => await openModel(base);
    await convert(path, { out: folder.at("out"), rank: 5, base: found });
    await using lora = await openAdapter(folder.at("out"));
    expect(lora.settings).toMatchObject({
      target_modules: ["q_proj"],
      target_parameters: [`${GATE}.weight`],
      rank_pattern: { [`${GATE}.weight`]: 3 },
      alpha_pattern: { [`${GATE}.weight`]: 3 },
    });
    expect(await distance(path, folder.at("out"), base)).toBeLessThan(1);
  });

  test.each(["experts", "experts.base_layer"])(
    "factors of all %s are refused, whatever base they are for",
    async (last) => {
      await using folder = await TemporaryFolder.create();
      const experts = `model.layers.0.mlp.${last}`;
      const path = await writeTestLora(
        folder.at("a"),
        { ...LORA, modules: {} },
        {
          config: { target_modules: [], target_parameters: ["experts.down_proj"] },
          tensors: {
            [`base_model.model.${experts}.lora_A.weight`]: numbers([12, 8]),
            [`base_model.model.${experts}.lora_B.weight`]: numbers([4, 12]),
          },
        },
      );
      const refusal = await refusalOf(() => convert(path, { out: folder.at("out"), rank: 2 }));
      expect(refusal.message).toContain("a LoRA of all experts together is not made yet");
      expect(await Bun.file(folder.at("out", "adapter_config.json")).exists()).toBe(false);
    },
  );
});

test("an existing output, and a signal, end it before anything is written", async () => {
  await using folder = await TemporaryFolder.create();
  const path = await writeTestLora(folder.at("a"), LORA);
  const refusal = await refusalOf(() => convert(path, { out: path, rank: 2, force: true }));
  expect(refusal.message).toContain("holds the input");
  const stopped = convert(path, { out: folder.at("out"), rank: 2 }, AbortSignal.abort(new Error("stopped")));
  await expect(stopped).rejects.toThrow("stopped");
  expect(await Bun.file(folder.at("out", "adapter_config.json")).exists()).toBe(false);
});
