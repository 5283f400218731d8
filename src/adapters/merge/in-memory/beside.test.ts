import { cp } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, spyOn, test } from "bun:test";
import { STORIES } from "../../../../fixtures/stories/storyteller.ts";
import { khatriRaoShape } from "../../formulas/kradapter.ts";
import { numbers, writeFolder } from "../../testing/adapters.ts";
import { writeLora } from "../../testing/lora.ts";
import { writeDora } from "../../testing/magnitudes.ts";
import { writeNola } from "../../testing/nola.ts";
import { writePranc } from "../../testing/pranc.ts";
import { writeVera } from "../../testing/vera.ts";
import { perplexity, windows } from "../../../measure/eval/perplexity.ts";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import type { Device } from "../../../compute/device/device.ts";
import { openTestDevice, TEST_DEVICE } from "../../../compute/device/testing/open.ts";
import { multipliesWholeNumbers } from "../../../compute/device/testing/stagings.ts";
import { readModel, type Tensors, weights, writeAdapter, writeModel } from "../testing/models.ts";
import { loadDecoder } from "../../../models/folder/load-decoder.ts";
import { Run } from "../../../compute/tensor/run.ts";
import type { AdapterChoice } from "../merged-checkpoint.ts";
import { AdaptedWeights } from "./weights.ts";
import { LanguageModel } from "../../../chat/language-model.ts";
import { writeRounded } from "../testing/rounded.ts";
import { layer, MODULES } from "../testing/modules.ts";
import { checkUnmerged, placeUnmerged } from "./beside.ts";
import { logitsAfter } from "../../../models/testing/logits.ts";

const IDS = Array.from({ length: 90 }, (_, at) => (37 * at) % 512);

let gpu: Device;
let folder: TemporaryFolder;
let rounded: string;
const adapters = new Map<string, string>();
beforeAll(async () => {
  gpu = await openTestDevice();
  folder = await TemporaryFolder.create();
  rounded = await writeRounded(STORIES, folder.at("rounded"), "Q8_0");
  const lora = { r: 3, alpha: 6, seed: 3, modules: MODULES };
  adapters.set("randlora", await writeAdapter(folder.at("randlora"), { ...lora, alpha: 60, size: 0.1 }));
  adapters.set("lora", await writeLora(folder.at("lora"), lora));
  adapters.set("dora", await writeDora(folder.at("dora"), lora));
  const drawn = { key: 5n, initSeed: 1, bases: 12 };
  adapters.set("nola", await writeNola(folder.at("nola"), { ...lora, ...drawn }));
  const embedding = { "model.embed_tokens.weight": weights("F32", [512, 64], 9) };
  for (const name of ["lora", "randlora"]) {
    const own = adapters.get(name) ?? "";
    adapters.set(`${name} with head`, await withHead(own, folder.at(`${name}-head`)));
    adapters.set(`${name} with embedding`, await replacing(own, folder.at(`${name}-embedding`), embedding));
    adapters.set(`${name} with both`, await withHead(own, folder.at(`${name}-both`), embedding));
  }
  adapters.set("vera", await writeVera(folder.at("vera"), { r: 16, modules: MODULES }));
  const pranc = { seed: 3n, alpha: 0.1, coefficients: [5, 2.5], modules: MODULES };
  adapters.set("pranc", await writePranc(folder.at("pranc"), pranc));
  adapters.set("kradapter", await writeKradapter(folder.at("kradapter")));
}, 60_000);
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

async function writeKradapter(to: string): Promise<string> {
  const tensors = Object.entries(MODULES).flatMap(([module, [out, input]]) => {
    const { a, b, short } = khatriRaoShape({ out, in: input }, 9);
    const name = `base_model.model.${module}.kradapter`;
    return [[`${name}_U`, numbers([a, short])] as const, [`${name}_V`, numbers([b, short])] as const];
  });
  const config = { peft_type: "KRADAPTER", r: 9, alpha: 30, target_modules: Object.keys(MODULES) };
  return await writeFolder(to, config, Object.fromEntries(tensors));
}

/** A copy of an adapter that replaces more than it adapts, as `modules_to_save` does. */
async function withHead(from: string, to: string, more: Tensors = {}): Promise<string> {
  return await replacing(from, to, {
    "lm_head.weight": weights("F32", [512, 64], 5),
    "model.norm.weight": weights("F32", [64], 6),
    ...more,
  });
}

async function replacing(from: string, to: string, saved: Tensors): Promise<string> {
  const tensors = await readModel(join(from, "adapter_model.safetensors"));
  const { modules_to_save: _, ...config } = await Bun.file(join(from, "adapter_config.json")).json();
  const named = Object.entries(saved).map(([name, tensor]) => [`base_model.model.${name}`, tensor] as const);
  const modules = Object.keys(saved).map((name) => name.replace(/^.*?(\w+)\.weight$/, "$1"));
  return await writeFolder(to, { ...config, modules_to_save: modules }, { ...tensors, ...Object.fromEntries(named) });
}

/** A copy of the story model with an output matrix of its own. */
async function withOwnHead(to: string): Promise<string> {
  await cp(STORIES, to, { recursive: true });
  const config = await Bun.file(join(STORIES, "config.json")).json();
  const tensors = { ...(await readModel(STORIES)), "lm_head.weight": weights("F32", [512, 64], 8) };
  return await writeModel(to, { tensors, config: { ...config, tie_word_embeddings: false } });
}

/** The loss with adapters merged in f32 into a model; without any, of the model. */
async function mergedLoss(model: string, choices: readonly AdapterChoice[]): Promise<number> {
  using decoder = await loadDecoder(gpu, model);
  await using adapted = await AdaptedWeights.open(decoder, model);
  await adapted.apply(choices, { dtype: "f32" });
  return (await perplexity(decoder, windows(IDS, 60))).nll;
}

/** The loss with adapters beside quantized weights. */
async function unmergedLoss(choices: readonly AdapterChoice[]): Promise<number> {
  using decoder = await loadDecoder(gpu, STORIES, { quantize: "Q8_0" });
  using placed = await placeUnmerged(decoder, STORIES, choices);
  await using adapted = await AdaptedWeights.open(decoder, STORIES);
  await adapted.apply(choices, { dtype: "f32", beside: decoder.weights.projected });
  decoder.linears = placed.linears;
  return (await perplexity(decoder, windows(IDS, 60))).nll;
}

const chosen = (name: string, scale = 1): AdapterChoice => ({ path: adapters.get(name) ?? name, scale });

/** The loss of the rounded model. */
let plain: number;
test("quantized weights are those that were rounded before", async () => {
  plain = await mergedLoss(rounded, []);
  const [found, whole] = [await unmergedLoss([]), await mergedLoss(STORIES, [])];
  expect(Math.abs(found - plain)).toBeLessThan(multipliesWholeNumbers(gpu.staging) ? 1e-4 : 2e-5);
  expect(Math.abs(found - whole)).toBeGreaterThan(2e-4);
});

describe("an adapter beside quantized weights is that which is merged into them in f32", () => {
  test.each([
    ["randlora", -0.5],
    ["lora", 2.5],
    ["dora", 0.5],
    ["nola", 3],
    ["vera", 0.5],
    ["pranc", 0.5],
    ["kradapter", 0.5],
  ])(
    "%s, scaled by %p",
    async (name, scale) => {
      const found = await unmergedLoss([chosen(name, scale)]);
      const wanted = await mergedLoss(rounded, [chosen(name, scale)]);
      expect(Math.abs(found - wanted)).toBeLessThan(5e-5 * wanted);
      expect(Math.abs(wanted - plain)).toBeGreaterThan(1e-3);
    },
    60_000,
  );

  test.each([
    ["lora", "embedding"],
    ["randlora", "both"],
  ])(
    "%s, with what it replaces whole: %s",
    async (name, what) => {
      const choices = [chosen(`${name} with ${what}`)];
      const [found, wanted] = [await unmergedLoss(choices), await mergedLoss(rounded, choices)];
      // Products with blocks round inputs, which with an embedding of random numbers are larger.
      expect(Math.abs(found - wanted)).toBeLessThan(2e-4 * wanted);
      expect(Math.abs(wanted - (await mergedLoss(rounded, [chosen(name)])))).toBeGreaterThan(0.01);
    },
    60_000,
  );

  test("several together", async () => {
    const scales = { nola: 2, kradapter: 1, lora: 1, vera: 0.5, randlora: -0.5 };
    const choices = Object.entries(scales).map(([name, scale]) => chosen(name, scale));
    const [found, wanted] = [await unmergedLoss(choices), await mergedLoss(rounded, choices)];
    expect(Math.abs(found - wanted)).toBeLessThan(5e-5 * wanted);
  });

  test("several take one product with the weights", async () => {
    using decoder = await loadDecoder(gpu, STORIES, { quantize: "Q8_0" });
    const weight = decoder.weights.tensors.get(`${layer(2, "mlp.down_proj")}.weight`);
    if (weight === undefined) throw new RangeError("no down_proj");
    const choices = ["randlora", "lora", "vera", "nola"].map((name) => chosen(name));
    using placed = await placeUnmerged(decoder, STORIES, choices);
    using run = new Run(gpu);
    const compute = spyOn(run, "compute");
    const x = run.upload("x", [1, 172], new Float32Array(172).fill(1));
    placed.linears.apply(run, { x, weight, bias: undefined, residual: undefined });
    const read = compute.mock.calls.filter(([, operands]) =>
      Object.values(operands).some((operand) => operand instanceof Object && operand.buffer === weight.buffer),
    );
    expect(read).toHaveLength(1);
  });
});

test("what cannot be added without being merged is refused, and nothing stays in memory", async () => {
  const modules = { [layer(0, "self_attn.q_proj")]: [64, 64] } as const;
  const head = { ...modules, lm_head: [512, 64] } as const;
  const projection = { "model.layers.0.self_attn.o_proj.weight": weights("F32", [64, 64], 7) };
  const replacing = await withHead(adapters.get("lora") ?? "", folder.at("replacing"), projection);
  const cases = [
    [[{ path: replacing, scale: 1 }], '"model.layers.0.self_attn.o_proj.weight" is replaced whole'],
    [[chosen("lora"), chosen("dora")], "its ΔW depends on the weights"],
    [
      [{ path: await writeLora(folder.at("head"), { r: 2, alpha: 2, seed: 1, modules: head }), scale: 1 }],
      "lm_head.weight",
    ],
  ] as const;
  using decoder = await loadDecoder(gpu, STORIES, { quantize: "Q4_0" });
  const before = gpu.memory.liveBytes;
  for (const [choices, message] of cases) {
    for (const attempt of [placeUnmerged, checkUnmerged]) {
      await expect(attempt(decoder, STORIES, choices)).rejects.toMatchObject({
        code: "adapter",
        message: expect.stringContaining(message),
        hint: expect.stringContaining("merge it"),
      });
    }
  }
  expect(gpu.memory.liveBytes).toBe(before);
});

test.each([true, false])(
  "a quantized model, tied: %p, changes its adapters between texts, and is itself again without",
  async (tied) => {
    const location = { folder: tied ? STORIES : await withOwnHead(folder.at("own-head")), weights: undefined };
    await using model = await LanguageModel.load({ location, quantize: "q4", device: TEST_DEVICE });
    expect(model.quantized?.dtype).toBe("Q4_0 and Q8_0");
    const live = model.gpu.memory.liveBytes;
    using cache = model.decoder.createCache();
    const logits = async () => {
      cache.slot.truncate(0);
      await logitsAfter(model.decoder, IDS.slice(0, 20), cache);
      // One token alone is a pass that was recorded before.
      return await logitsAfter(model.decoder, IDS.slice(20, 21), cache);
    };
    const bare = await logits();
    expect(await model.setAdapters([chosen("randlora")])).toEqual([]);
    const adapted = await logits();
    expect(adapted).not.toEqual(bare);
    await expect(model.setAdapters([chosen("/nowhere")])).rejects.toMatchObject({ code: "file" });
    expect(model.adapters).toEqual([chosen("randlora")]);
    expect(await logits()).toEqual(adapted);
    // Those that replace the embedding, or the output matrix and the last norm.
    for (const name of ["lora with embedding", "lora with head", "lora with both"]) {
      await model.setAdapters([chosen(name)]);
      expect(await logits()).not.toEqual(adapted);
    }
    await model.setAdapters([chosen("randlora")]);
    expect(await logits()).toEqual(adapted);
    await model.setAdapters([]);
    expect(await logits()).toEqual(bare);
    cache[Symbol.dispose]();
    model.gpu.memory.trim();
    expect(model.gpu.memory.liveBytes).toBeLessThanOrEqual(live + 4096);
  },
);
