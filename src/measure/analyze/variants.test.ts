import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { numbers, writeFolder } from "../../adapters/testing/adapters.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { writePackedExperts } from "../../models/testing/packed-experts.ts";
import { storySamples } from "../testing/story-samples.ts";
import { collectActivations } from "./cka/activations.ts";
import { planVariants, type VariantsPlan } from "./plan-variants.ts";
import { LossPlane } from "./plane/losses.ts";
import { Variants } from "./variants.ts";

const DATA = storySamples([5, 20, 9]);
const LAYERS = "base_model.model.model.layers";
const EXPERTS = "model.layers.0.mlp.experts.0.down_proj.weight";

let folder: TemporaryFolder;
let gpu: Device;
let base: string;
/** LoRAs of the experts of both layers. */
let adapters: string[];
beforeAll(async () => {
  folder = await TemporaryFolder.create();
  gpu = await openTestDevice();
  base = folder.at("base");
  await writePackedExperts(base, 2, { vocab_size: 512 });
  const config = { peft_type: "LORA", r: 2, target_modules: [], target_parameters: ["experts.down_proj"] };
  const tensors = Object.fromEntries(
    [0, 1].flatMap((layer) => [
      [`${LAYERS}.${layer}.mlp.experts.lora_A.weight`, numbers([16, 64], layer)],
      [`${LAYERS}.${layer}.mlp.experts.lora_B.weight`, numbers([32, 16], layer)],
    ]),
  );
  adapters = await Promise.all(
    [40, -20, 30].map((alpha) => writeFolder(folder.at(`lora${alpha}`), { ...config, lora_alpha: alpha }, tensors)),
  );
}, 120_000);
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

const planOf = (paths: readonly string[]) => planVariants({ folder: base, weights: undefined }, paths, undefined);

/** What a model's blocks say with each adapter, and losses in the plane of all. */
async function measure(plan: VariantsPlan, allInF32: boolean) {
  await using model = await Variants.load(gpu, plan, { allInF32 });
  const activations = await activationsOf(model, plan);
  const [a, b, c] = plan.variants;
  if (a === undefined || b === undefined || c === undefined) throw new RangeError();
  using plane = await LossPlane.load(model, plan, [a, b, c], DATA);
  const losses = [await plane.loss([0.4, 0.9, -0.3]), await plane.loss([0, 0, 1])];
  return { dtype: model.decoder.weights.tensors.get(EXPERTS)?.dtype, activations, losses };
}

async function activationsOf(model: Variants, { variants }: VariantsPlan) {
  const activations: (readonly number[])[] = [];
  for (const variant of variants) {
    const found = await model.with(variant, (decoder) => collectActivations(decoder, DATA));
    activations.push(found.flatMap(({ rows }) => [...rows]));
  }
  return activations;
}

function expectAlike(found: (readonly number[])[], wanted: (readonly number[])[]): void {
  for (const [at, values] of wanted.entries()) {
    const most = Math.max(...values.map(Math.abs));
    const apart = Math.max(...values.map((value, i) => Math.abs(value - (found[at]?.[i] ?? NaN))));
    expect(apart).toBeLessThan(1e-5 * most);
  }
}

test("weights in blocks stay in them, and what is measured is what weights in F32 give", async () => {
  const before = gpu.memory.liveBytes;
  const plan = await planOf(adapters);
  const [found, wanted] = [await measure(plan, false), await measure(plan, true)];
  expect([found.dtype, wanted.dtype]).toEqual(["MXFP4", "F32"]);
  for (const [at, loss] of wanted.losses.entries()) expect(found.losses[at]).toBeCloseTo(loss, 4);
  expect(Math.abs((wanted.losses[0] ?? NaN) - (wanted.losses[1] ?? NaN))).toBeGreaterThan(1e-3);
  expectAlike(found.activations, wanted.activations);
  expect(found.activations[0]).not.toEqual(found.activations[1]);
  expect(gpu.memory.liveBytes).toBe(before);
});

describe("where an adapter cannot be computed beside weights", () => {
  let plan: VariantsPlan;
  beforeAll(async () => {
    const config = { peft_type: "LORA", r: 2, lora_alpha: 4, use_dora: true, target_modules: ["0.self_attn.q_proj"] };
    const q = `${LAYERS}.0.self_attn.q_proj`;
    const dora = await writeFolder(folder.at("dora"), config, {
      [`${q}.lora_A.weight`]: numbers([2, 32]),
      [`${q}.lora_B.weight`]: numbers([32, 2]),
      [`${q}.lora_magnitude_vector.weight`]: numbers([32]),
    });
    plan = await planOf([...adapters, dora]);
  });

  test("all are in F32, and so they are where two adapters are the same", async () => {
    for (const of of [plan, await planOf([adapters[0] ?? "", adapters[0] ?? ""])]) {
      await using model = await Variants.load(gpu, of);
      expect(model.areBeside).toBe(false);
      expect(model.decoder.weights.tensors.get(EXPERTS)?.dtype).toBe("F32");
    }
  });

  test("all the same stay in blocks what no adapter that must be merged changes, where variants are looked at one by one", async () => {
    const config = { peft_type: "LORA", r: 2, lora_alpha: 40, target_modules: [] };
    const own = { target_parameters: ["0.mlp.experts.down_proj"], modules_to_save: ["0.self_attn.k_proj"] };
    const first = `${LAYERS}.0`;
    const replacing = await writeFolder(
      folder.at("replacing"),
      { ...config, ...own },
      {
        [`${first}.mlp.experts.lora_A.weight`]: numbers([16, 64]),
        [`${first}.mlp.experts.lora_B.weight`]: numbers([32, 16]),
        [`${first}.self_attn.k_proj.weight`]: numbers([16, 32]),
      },
    );
    const dora = plan.variants.flatMap((one) => (one.kind === "adapter" ? [one.path] : [])).at(-1) ?? "";
    const some = [adapters[0] ?? "", dora, adapters[0] ?? ""];
    for (const [paths, dtypes] of [
      [some, ["MXFP4", "MXFP4"]],
      [
        [...some, replacing],
        ["F32", "MXFP4"],
      ],
    ] as const) {
      const of = await planOf(paths);
      await using model = await Variants.load(gpu, of, { apart: true });
      const { tensors } = model.decoder.weights;
      expect([EXPERTS, EXPERTS.replace("layers.0", "layers.1")].map((name) => tensors.get(name)?.dtype)).toEqual([
        ...dtypes,
      ]);
      await using wanted = await Variants.load(gpu, of, { allInF32: true });
      expectAlike(await activationsOf(model, of), await activationsOf(wanted, of));
    }
  });

  test("what fails as they are read again is said, and nothing stays in memory", async () => {
    const before = gpu.memory.liveBytes;
    let begun = 0;
    const onProgress = (read: number): void => {
      if (read === 0) begun++;
      else if (begun > 1) throw new Error("no more");
    };
    await expect(Variants.load(gpu, plan, { onProgress })).rejects.toThrow("no more");
    expect(gpu.memory.liveBytes).toBe(before);
  });
});
