// LoRA of experts in passes: what is computed beside the weights is what the merged weights compute, and a file's factors come back.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import { writeArchitecture } from "../../models/testing/architectures.ts";
import { openBase } from "../base/named-base.ts";
import { findTargets } from "../base/target-modules.ts";
import { openPeft } from "../formats/peft.ts";
import { placeUnmerged } from "../merge/in-memory/beside.ts";
import { AdaptedWeights } from "../merge/in-memory/weights.ts";
import { f32, type TestTensor, writeFolder } from "../testing/adapters.ts";
import { Parameters } from "../method/parameters.ts";
import { stackExperts } from "./expert-stacks.ts";
import { planLora } from "./plan.ts";
import { newLora, trainableLora } from "./method.ts";
import { logitsAfter } from "../../models/testing/logits.ts";

let gpu: Device;
let folder: TemporaryFolder;
beforeAll(async () => {
  gpu = await openTestDevice();
  folder = await TemporaryFolder.create();
  for (const fused of [false, true]) await writeArchitecture(folder.at(`${fused}`), "mixtral", 2, {}, fused);
});
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

const SETTINGS = {
  rank: 3,
  alpha: 6,
  rslora: false,
  dropout: 0,
  layers: [],
  initAdapter: null,
  initCommit: null,
  initSha256: null,
};

/** A LoRA of these targets with values of its own, as `finetune` names its tensors. */
async function adapterOf(base: string, targets: string[], name: string): Promise<string> {
  await using opened = await openBase(base);
  const found = findTargets(opened.base, { targets, layers: [] }, { parameters: true });
  const { config, tensors } = newLora({ ...SETTINGS, targets }, found, base, 1);
  const values: Record<string, TestTensor> = {};
  for (const [tensor, { shape }] of tensors) {
    const count = shape.reduce((product, size) => product * size, 1);
    const numbers = Array.from({ length: count }, (_, at) => Math.sin(at * 0.7 + shape.length) / 8);
    values[`base_model.model.${tensor}`] = f32(shape, numbers);
  }
  return await writeFolder(folder.at(name), config, values);
}

const IDS = Array.from({ length: 11 }, (_, at) => (at * 7 + 3) % 20);

async function logitsOf(decoder: Decoder): Promise<Float32Array> {
  return await logitsAfter(decoder, IDS);
}

describe.each([
  ["each expert's", false, ["w1", "w3", "w2"]],
  ["each expert's, of which one kind, and routers", false, ["q_proj", "w3", "gate"]],
  ["a layer's, of files with each expert's", false, ["experts.gate_up_proj", "experts.down_proj"]],
  ["a layer's", true, ["q_proj", "gate_up_proj", "down_proj"]],
] as const)("factors: %s", (name, fused, targets) => {
  test("beside the weights they are what is merged into them", async () => {
    const base = folder.at(`${fused}`);
    const path = await adapterOf(base, [...targets], name.replaceAll(/\W/g, ""));
    const choices = [{ path, scale: 0.5 }];
    using merged = await loadDecoder(gpu, base);
    const plain = await logitsOf(merged);
    await using adapted = await AdaptedWeights.open(merged, base);
    await adapted.apply(choices, { dtype: "f32" });
    const wanted = await logitsOf(merged);
    using decoder = await loadDecoder(gpu, base);
    using placed = await placeUnmerged(decoder, base, choices);
    decoder.linears = placed.linears;
    const found = await logitsOf(decoder);
    const apart = (a: Float32Array, b: Float32Array) =>
      a.reduce((most, value, at) => Math.max(most, Math.abs(value - (b[at] ?? NaN))), 0);
    expect(apart(wanted, plain)).toBeGreaterThan(1e-3);
    expect(apart(found, wanted)).toBeLessThan(1e-4 * apart(wanted, new Float32Array(wanted.length)));
  });

  test("they are written as they were read", async () => {
    await using opened = await openBase(folder.at(`${fused}`));
    await using adapter = await openPeft(folder.at(name.replaceAll(/\W/g, "")));
    const plan = planLora(adapter, opened.base);
    const trainable = trainableLora({ ...plan, ...stackExperts(plan, opened.base) }, { dropout: 0, seed: 1 });
    using decoder = await loadDecoder(gpu, folder.at(`${fused}`));
    const parameters = new Parameters(gpu, trainable.parameters);
    const place = { staging: gpu.staging, tokens: 8, microBatches: 1, budget: 0, choices: undefined };
    const method = await trainable.place({ gpu, parameters, tensors: decoder.weights.tensors, place });
    const written = new Map((await method.content?.())?.tensors.map((tensor) => [tensor.name, tensor]));
    expect([...written.keys()].toSorted()).toEqual([...adapter.tensors.keys()].toSorted());
    for (const [tensor, stored] of adapter.tensors) {
      expect(written.get(tensor)?.shape).toEqual(stored.shape);
      expect(await written.get(tensor)?.readAll()).toEqual(await stored.readAll());
    }
    parameters.release();
  });
});

test("some experts alone are refused by name", async () => {
  await using opened = await openBase(folder.at("false"));
  await using adapter = await openPeft(await adapterOf(folder.at("false"), ["experts.3.w2"], "one"));
  expect(await refusalOf(async () => stackExperts(planLora(adapter, opened.base), opened.base))).toMatchObject({
    code: "usage",
    message: expect.stringContaining("1 of 8 experts are adapted"),
  });
});
