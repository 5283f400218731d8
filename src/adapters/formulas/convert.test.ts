// What becomes of adapters whose ΔW is a formula: a LoRA of ΔW, no GGUF adapter, and training beside quantized weights.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { tensorBytes, tensorIn } from "../../compute/tensor/tensor.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { writeArchitecture } from "../../models/testing/architectures.ts";
import { openModel } from "../base/named-base.ts";
import { writeGgufAdapter } from "../convert/gguf-adapter.ts";
import { openAdapter } from "../formats/open.ts";
import { openDeltas } from "../merge/in-memory/deltas.ts";
import { weights } from "../merge/testing/models.ts";
import { Parameters } from "../method/parameters.ts";
import { methodOfAdapter } from "../methods.ts";
import { loraOfDeltas } from "../convert/to-lora.ts";
import { baseOf, writeFolder } from "../testing/adapters.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const Q = "model.layers.0.self_attn.q_proj";
/** Adapters of a (32, 32) weight: peft_type, settings, shapes, and whether ΔW takes W. */
const FORMULAS: readonly (readonly [string, JsonObject, Readonly<Record<string, readonly number[]>>, boolean])[] = [
  ["KRADAPTER", { r: 2, alpha: 4 }, { kradapter_U: [2, 32], kradapter_V: [16, 32] }, false],
  ["MISS", { r: 3 }, { miss_block: [3, 32] }, false],
  ["MISS", { r: 4, init_weights: "bat" }, { miss_block: [8, 4, 4] }, true],
  ["GRALORA", { r: 4 }, { gralora_A: [2, 16, 4], gralora_B: [2, 4, 16] }, false],
  ["C3A", { block_size: 4 }, { c3a_kernel: [8, 8, 4] }, false],
  ["DELORA", { r: 3 }, { delora_A: [3, 32], delora_B: [32, 3], delora_lambda: [1], delora_w_norm: [32] }, false],
  ["HIRA", { r: 3 }, { hira_A: [3, 32], hira_B: [32, 3] }, true],
];

async function written(
  folder: TemporaryFolder,
  type: string,
  own: JsonObject,
  of: (typeof FORMULAS)[number][2],
): Promise<string> {
  const tensors = Object.entries(of).map(([name, shape], at) => {
    return [`base_model.model.${Q}.${name}`, weights("F32", shape, at + 2, 1)] as const;
  });
  const config = { peft_type: type, target_modules: ["q_proj"], ...own };
  return await writeFolder(folder.at("adapter"), config, Object.fromEntries(tensors));
}

test.each(FORMULAS)(
  "%s with %j: a LoRA has its ΔW, which follow from a base; GGUF is refused",
  async (type, own, of) => {
    await using folder = await TemporaryFolder.create();
    const path = await written(folder, type, own, of);
    const base = folder.at("model");
    await writeArchitecture(base, "llama", 1);
    const noBase = await refusalOf(() => openDeltas(gpu, path, { layers: [] }));
    expect([noBase.code, noBase.hint]).toEqual(["adapter", expect.stringContaining("--base")]);
    await using deltas = await openDeltas(gpu, path, { layers: [], base: async () => await openModel(base) });
    const { modules } = await loraOfDeltas(deltas, { rank: 32, energy: undefined }, { module() {}, work() {} });
    expect(modules).toMatchObject([{ module: Q, rank: 32 }]);
    for (const { norm, error } of modules) expect([norm > 0.1, error / norm < 1e-5]).toEqual([true, true]);
    await using adapter = await openAdapter(path);
    const gguf = { out: folder.at("x.gguf"), base, outtype: "keep", force: false } as const;
    const refusal = await refusalOf(() => writeGgufAdapter(adapter, gguf));
    expect([refusal.code, refusal.hint]).toEqual(["adapter", expect.stringContaining("--to lora")]);
  },
);

test.each(FORMULAS)(
  "%s with %j: quantized weights are refused where ΔW takes them",
  async (type, own, of, takesWeight) => {
    await using folder = await TemporaryFolder.create();
    await using adapter = await openAdapter(await written(folder, type, own, of));
    const input = { matrices: [], model: "m", dtype: "f32", seed: 1, began: undefined, signal: undefined } as const;
    const targets = { targets: ["q_proj"], layers: [], initAdapter: null, initCommit: null, initSha256: null };
    const trainable = await methodOfAdapter(adapter).training.open(
      { ...input, base: baseOf({ [`${Q}.weight`]: [32, 32] }) },
      { rank: 4, alpha: 4, dropout: 0, ...targets },
      adapter,
    );
    using owner = new DisposableStack();
    const device = ownedBy(owner, gpu);
    const shape = [32, 32] as const;
    const weight = tensorIn(device.memory.allocate("W", tensorBytes(shape, "Q8_0")), shape, "Q8_0");
    const on = {
      gpu: device,
      parameters: new Parameters(device, trainable.parameters),
      tensors: new Map([[`${Q}.weight`, weight]]),
      place: { staging: gpu.staging, tokens: 8, microBatches: 1, budget: 2 ** 28, choices: undefined },
    };
    const message = await trainable.place(on).then(
      () => "",
      (thrown: unknown) => String(thrown),
    );
    expect(message.includes("W is quantized")).toBe(takesWeight);
  },
);
