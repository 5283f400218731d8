// Bases whose experts are in MXFP4: held so, and written in BF16.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../../compute/device/device.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import type { LoadOptions } from "../../../models/decoder/decoder.ts";
import { loadDecoder } from "../../../models/folder/load-decoder.ts";
import { writePackedExperts } from "../../../models/testing/packed-experts.ts";
import { f32, writeFolder } from "../../testing/adapters.ts";
import { writeLora } from "../../testing/lora.ts";
import { placeUnmerged } from "../in-memory/beside.ts";
import { Notes, OPTIONS } from "../testing/merge.ts";
import { merge } from "./run.ts";
import { logitsAfter } from "../../../models/testing/logits.ts";

const DOWN = "model.layers.1.mlp.experts.down_proj";
const OF_EXPERT = "model.layers.1.mlp.experts.3.down_proj.weight";
const Q = "model.layers.1.self_attn.q_proj";

let gpu: Device;
let folder: TemporaryFolder;
beforeAll(async () => {
  gpu = await openTestDevice();
  folder = await TemporaryFolder.create();
  await writePackedExperts(folder.at("base"), 2);
});
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

async function logitsOf(path: string, options: LoadOptions & { readonly beside?: string } = {}) {
  using decoder = await loadDecoder(gpu, path, options);
  const { beside } = options;
  const placed = async (adapter: string) => placeUnmerged(decoder, path, [{ path: adapter, scale: 1 }]);
  using unmerged = beside === undefined ? undefined : await placed(beside);
  if (unmerged) decoder.linears = unmerged.linears;
  const logits = await logitsAfter(decoder, [3, 9, 4, 17, 2]);
  const { tensors, quantized } = decoder.weights;
  return { logits, quantized, dtype: tensors.get(OF_EXPERT)?.dtype };
}

test("experts stay in their blocks in memory, with the logits that they have as numbers", async () => {
  const packed = await logitsOf(folder.at("base"));
  const numbers = await logitsOf(folder.at("base"), { dtype: "F32" });
  expect([packed.dtype, packed.quantized?.dtype, numbers.dtype]).toEqual(["MXFP4", "MXFP4", "F32"]);
  // 4 bits and a scale of 16 for 32 numbers.
  expect(packed.quantized?.bytes).toBe((2 * 8 * 3 * 64 * 32 * 18) / 32);
  const largest = Math.max(...numbers.logits.map(Math.abs));
  const worst = Math.max(...numbers.logits.map((logit, at) => Math.abs(logit - (packed.logits[at] ?? NaN))));
  expect(worst).toBeLessThan(1e-5 * largest);
});

test("a merge writes them in BF16, and a config.json without them", async () => {
  const adapter = await writeLora(folder.at("lora"), { r: 2, alpha: 2, seed: 1, modules: { [Q]: [32, 32] } });
  const options = { ...OPTIONS, base: folder.at("base"), adapters: [adapter], out: folder.at("merged") };
  const { out } = await merge(options, new Notes(), new AbortController().signal);
  const config: unknown = await Bun.file(folder.at("merged", "config.json")).json();
  expect(config).not.toHaveProperty("quantization_config");
  const experts = async (path: string) => {
    await using checkpoint = await Checkpoint.open(path);
    const { info } = checkpoint.get(DOWN);
    const bytes = new Uint8Array(info.bytes);
    await checkpoint.read(DOWN, bytes);
    return { bytes, dtype: info.dtype, shape: info.shape, isPacked: info.packed !== undefined };
  };
  const base = await experts(folder.at("base"));
  expect([base.isPacked, base.shape]).toEqual([true, [8, 64, 32]]);
  expect(await experts(out)).toEqual({ ...base, dtype: "BF16", isPacked: false });
  expect((await logitsOf(out)).dtype).toBe("BF16");
});

test("LoRA of all experts is added to their transposes in files, and computed beside blocks", async () => {
  const [experts, rank] = [8, 2];
  const numbers = (count: number) => Float32Array.from({ length: count }, (_, at) => Math.sin(at * 2.3) / 4);
  const path = "base_model.model.model.layers.1.mlp.experts";
  const factors = {
    [`${path}.base_layer.lora_A.weight`]: f32([rank * experts, 32], numbers(rank * experts * 32)),
    [`${path}.base_layer.lora_B.weight`]: f32([128, rank * experts], numbers(128 * rank * experts)),
    [`${path}.lora_A.weight`]: f32([rank * experts, 64], numbers(rank * experts * 64)),
    [`${path}.lora_B.weight`]: f32([32, rank * experts], numbers(32 * rank * experts)),
  };
  const config = { peft_type: "LORA", r: rank, lora_alpha: 4, target_modules: [] };
  const parameters = ["gate_up_proj", "down_proj"].map((name) => `model.layers.1.mlp.experts.${name}`);
  const adapter = await writeFolder(folder.at("experts"), { ...config, target_parameters: parameters }, factors);
  const options = { ...OPTIONS, base: folder.at("base"), adapters: [adapter], out: folder.at("all") };
  const { out } = await merge({ ...options, dtype: "f32" }, new Notes(), new AbortController().signal);
  const [plain, merged] = [(await logitsOf(folder.at("base"))).logits, (await logitsOf(out)).logits];
  const beside = (await logitsOf(folder.at("base"), { beside: adapter })).logits;
  const farthest = (other: Float32Array) =>
    Math.max(...other.map((logit, at) => Math.abs(logit - (merged[at] ?? NaN))));
  const largest = Math.max(...merged.map(Math.abs));
  expect(farthest(beside)).toBeLessThan(1e-5 * largest);
  expect(farthest(plain)).toBeGreaterThan(1e-2 * largest);
});
