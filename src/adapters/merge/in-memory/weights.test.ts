import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { OPTIONS } from "../testing/merge.ts";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import { join } from "node:path";
import { STORIES } from "../../../../fixtures/stories/storyteller.ts";
import { numbers } from "../../testing/adapters.ts";
import { type TestLora, writeLora } from "../../testing/lora.ts";
import { writeDora } from "../../testing/magnitudes.ts";
import type { Device } from "../../../compute/device/device.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { read } from "../../../compute/device/transfer.ts";
import { merge } from "../to-files/run.ts";
import { SILENT } from "../../../terminal/progress.ts";
import { readModel, rounded, type TestAdapter, weights, widened, writeAdapter, writeModel } from "../testing/models.ts";
import type { Decoder } from "../../../models/decoder/decoder.ts";
import { loadDecoder } from "../../../models/folder/load-decoder.ts";
import type { Dtype } from "../../../files/safetensors/dtype.ts";
import { elementBytes, type Tensor } from "../../../compute/tensor/tensor.ts";
import { writeArchitecture } from "../../../models/testing/architectures.ts";
import { AdaptedWeights } from "./weights.ts";
import { logitsAfter } from "../../../models/testing/logits.ts";

const layer = (index: number, name: string) => `model.layers.${index}.${name}`;
const FIRST: TestAdapter = {
  r: 4,
  alpha: 8,
  seed: 1,
  modules: {
    [layer(0, "self_attn.q_proj")]: [64, 64],
    [layer(0, "self_attn.v_proj")]: [32, 64],
    [layer(2, "mlp.down_proj")]: [64, 172],
    [layer(3, "mlp.up_proj")]: [172, 64],
  },
};
const SECOND: TestAdapter = {
  r: 8,
  alpha: 8,
  seed: 2,
  modules: { [layer(0, "self_attn.q_proj")]: [64, 64], [layer(4, "self_attn.o_proj")]: [64, 64] },
};
const LORA: TestLora = {
  r: 3,
  alpha: 1,
  seed: 3,
  modules: { [layer(0, "self_attn.q_proj")]: [64, 64], [layer(2, "mlp.down_proj")]: [64, 172], lm_head: [512, 64] },
};

let gpu: Device;
let folder: TemporaryFolder;
/** The stories model in BF16: rows of 172 do not fill whole vectors. */
let half: string;
let first: string;
let second: string;
beforeAll(async () => {
  gpu = await openTestDevice();
  folder = await TemporaryFolder.create();
  const tensors = Object.entries(await readModel(STORIES)).map(([name, tensor]) => [
    name,
    { ...tensor, dtype: "BF16", data: rounded(widened(tensor), "BF16") },
  ]);
  const config = await Bun.file(join(STORIES, "config.json")).json();
  half = await writeModel(folder.at("half"), { tensors: Object.fromEntries(tensors), config });
  first = await writeAdapter(folder.at("first"), FIRST);
  second = await writeAdapter(folder.at("second"), SECOND);
}, 60_000);
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

/** What a matrix in GPU memory holds, without the gaps between its rows. */
async function contents({ buffer, shape: [rows, cols], pitch, offset, dtype }: Tensor): Promise<Uint8Array> {
  const size = elementBytes(dtype);
  const all = await read(gpu, buffer);
  const dense = new Uint8Array(rows * cols * size);
  for (let row = 0; row < rows; row++) {
    const start = (offset + row * pitch) * size;
    dense.set(all.subarray(start, start + cols * size), row * cols * size);
  }
  return dense;
}

/** As F32, which holds every value that is compared here. */
function wide(tensor: { readonly dtype: Dtype; readonly data: Uint8Array }): Uint8Array {
  return new Uint8Array(Float32Array.from(widened(tensor)).buffer);
}

async function expectEqual(decoder: Decoder, model: string): Promise<void> {
  for (const [name, { dtype, data }] of Object.entries(await readModel(model))) {
    const tensor = decoder.weights.tensors.get(name);
    if (tensor === undefined) throw new Error(name);
    const [wanted, found] = [
      { dtype, data },
      { dtype: tensor.dtype as Dtype, data: await contents(tensor) },
    ];
    expect([name, Buffer.compare(wide(found), wide(wanted))]).toEqual([name, 0]);
  }
}

test("what adapters do to other parts of a model is left out; merged they get it", async () => {
  const tensors = Object.entries(await readModel(STORIES)).map(([name, tensor]) => {
    return [name.replace(/^model\./, "language_model.model."), tensor] as const;
  });
  const images = "vision_tower.layers.0.q_proj";
  const text = await Bun.file(join(STORIES, "config.json")).json();
  const base = await writeModel(folder.at("parts"), {
    tensors: { ...Object.fromEntries(tensors), [`${images}.weight`]: weights("F32", [32, 16], 7) },
    config: { model_type: "mistral3", tie_word_embeddings: true, text_config: { ...text, model_type: "mistral" } },
  });
  const within = (module: string) => module.replace("model.", "model.language_model.");
  const modules = Object.fromEntries(Object.entries(FIRST.modules).map(([module, shape]) => [within(module), shape]));
  const adapter = await writeAdapter(folder.at("of-parts"), {
    ...FIRST,
    modules: { ...modules, [`model.${images}`]: [32, 16] },
  });
  using decoder = await loadDecoder(gpu, base);
  await using adapted = await AdaptedWeights.open(decoder, base);
  await adapted.apply([{ path: adapter, scale: 1 }]);
  const both = await readModel(await mergedFolder(base, [adapter], [1]));
  const [before, after] = [(await readModel(base))[`${images}.weight`], both[`${images}.weight`]];
  expect(Buffer.compare(before?.data ?? Buffer.alloc(0), after?.data ?? Buffer.alloc(0))).not.toBe(0);
  for (const [name, { data }] of Object.entries(both)) {
    const tensor = decoder.weights.tensors.get(name);
    expect([name, tensor === undefined]).toEqual([name, name === `${images}.weight`]);
    if (tensor !== undefined) expect([name, Buffer.compare(await contents(tensor), data)]).toEqual([name, 0]);
  }
});

test("a model that stores its weights transposed, and one without the head's prefix, computes what its merge does", async () => {
  const base = folder.at("transposed");
  await writeArchitecture(base, "gpt2", 2, {}, true);
  const modules = { "transformer.h.0.attn.c_attn": [96, 32], "transformer.h.1.mlp.c_proj": [32, 64] } as const;
  const adapter = await writeLora(folder.at("of-transposed"), { r: 3, alpha: 2, seed: 5, modules });
  const logits = async (decoder: Decoder) => {
    return await logitsAfter(decoder, [3, 1, 4, 1, 5]);
  };
  using whole = await loadDecoder(gpu, await mergedFolder(base, [adapter], [1]));
  using decoder = await loadDecoder(gpu, base);
  await using adapted = await AdaptedWeights.open(decoder, base);
  const before = await logits(decoder);
  await adapted.apply([{ path: adapter, scale: 1 }]);
  const changed = await logits(decoder);
  expect(changed).toEqual(await logits(whole));
  expect(changed).not.toEqual(before);
  await adapted.apply([]);
  expect(await logits(decoder)).toEqual(before);
});

let merged = 0;
async function mergedFolder(
  base: string,
  adapters: readonly string[],
  scales: readonly number[],
  dtype: "keep" | "f32" = "keep",
): Promise<string> {
  const out = folder.at(`merged-${merged++}`);
  const none = {
    generator: undefined,
    unmerge: false,
    verify: false,
    force: false,
    dryRun: false,
    device: OPTIONS.device,
  };
  const options = { base, adapters, scales, out, dtype, rounding: "once", maxShardSize: 5e9, ...none } as const;
  await merge(options, SILENT, new AbortController().signal);
  return out;
}

test.each(["F32", "BF16"])(
  "%s: the weights are those that merge writes, whichever adapters were there before",
  async (dtype) => {
    const model = dtype === "F32" ? STORIES : half;
    using decoder = await loadDecoder(gpu, model);
    await using adapted = await AdaptedWeights.open(decoder, model);
    const before = gpu.memory.liveBytes;
    await adapted.apply([{ path: first, scale: 1 }]);
    await expectEqual(decoder, await mergedFolder(model, [first], [1]));
    await adapted.apply([{ path: second, scale: 1 }]);
    await expectEqual(decoder, await mergedFolder(model, [second], [1]));
    await adapted.apply([
      { path: first, scale: 0.5 },
      { path: second, scale: -2 },
    ]);
    await expectEqual(decoder, await mergedFolder(model, [first, second], [0.5, -2]));
    await adapted.apply([]);
    await expectEqual(decoder, model);
    expect(gpu.memory.liveBytes).toBe(before);
  },
);

test("LoRA, alone and beside RandLoRA", async () => {
  using decoder = await loadDecoder(gpu, half);
  await using adapted = await AdaptedWeights.open(decoder, half);
  const before = gpu.memory.liveBytes;
  const lora = await writeLora(folder.at("lora"), LORA, { config: { use_rslora: true } });
  await adapted.apply([{ path: lora, scale: 2 }]);
  await expectEqual(decoder, await mergedFolder(half, [lora], [2]));
  await adapted.apply([
    { path: first, scale: 1 },
    { path: lora, scale: -1 },
  ]);
  await expectEqual(decoder, await mergedFolder(half, [first, lora], [1, -1]));
  await adapted.apply([]);
  expect(gpu.memory.liveBytes).toBe(before);
});

test("DoRA, alone and after RandLoRA: norms are the base's", async () => {
  using decoder = await loadDecoder(gpu, half);
  await using adapted = await AdaptedWeights.open(decoder, half);
  const before = gpu.memory.liveBytes;
  const dora = await writeDora(folder.at("dora"), LORA);
  await adapted.apply([{ path: dora, scale: 2 }]);
  await expectEqual(decoder, await mergedFolder(half, [dora], [2]));
  await adapted.apply([
    { path: first, scale: 1 },
    { path: dora, scale: -1 },
  ]);
  await expectEqual(decoder, await mergedFolder(half, [first, dora], [1, -1]));
  await adapted.apply([]);
  expect(gpu.memory.liveBytes).toBe(before);
});

test("what was stopped half-way is made whole by the next call", async () => {
  using decoder = await loadDecoder(gpu, half);
  await using adapted = await AdaptedWeights.open(decoder, half);
  const stop = new AbortController();
  const onProgress = (done: number): void => {
    if (done === 2) stop.abort(new Error("enough"));
  };
  const applying = adapted.apply([{ path: first, scale: 1 }], { signal: stop.signal, onProgress });
  await expect(applying).rejects.toThrow("enough");
  expect(adapted.isMixture).toBeTrue();
  await adapted.apply([]);
  await expectEqual(decoder, half);
});

describe("a tied output matrix", () => {
  const HEAD: TestAdapter = { ...FIRST, modules: { lm_head: [512, 64], [layer(1, "mlp.up_proj")]: [172, 64] } };
  let head: string;
  beforeAll(async () => {
    head = await writeAdapter(folder.at("head"), HEAD);
  });

  test("becomes one of its own where an adapter changes it, and is shared again afterwards", async () => {
    for (const model of [STORIES, half]) {
      using decoder = await loadDecoder(gpu, model);
      await using adapted = await AdaptedWeights.open(decoder, model);
      const before = gpu.memory.liveBytes;
      expect(await adapted.check([{ path: head, scale: 1 }])).toEqual([]);
      await adapted.apply([{ path: head, scale: -2 }]);
      expect(decoder.weights.head).not.toBe(decoder.weights.embedding);
      await expectEqual(decoder, await mergedFolder(model, [head], [-2]));
      await adapted.apply([{ path: first, scale: 1 }]);
      expect(decoder.weights.head).toBe(decoder.weights.embedding);
      await expectEqual(decoder, await mergedFolder(model, [first], [1]));
      await adapted.apply([]);
      await expectEqual(decoder, model);
      expect(gpu.memory.liveBytes).toBe(before);
    }
  });

  test("keeps what it was where an adapter replaces the embedding", async () => {
    const saved = { "base_model.model.model.embed_tokens.weight": weights("F32", [512, 64], 9) };
    const config = { modules_to_save: ["embed_tokens"] };
    const replacing = await writeAdapter(folder.at("replacing"), FIRST, { tensors: saved, config });
    const tensors = await readModel(half);
    const pair = {
      ...tensors,
      "lm_head.weight": tensors["model.embed_tokens.weight"] ?? weights("BF16", [512, 64], 1),
    };
    const settings = await Bun.file(join(half, "config.json")).json();
    const stored = await writeModel(folder.at("pair"), {
      tensors: pair,
      config: { ...settings, tie_word_embeddings: true },
    });
    for (const model of [STORIES, stored]) {
      using decoder = await loadDecoder(gpu, model);
      await using adapted = await AdaptedWeights.open(decoder, model);
      await adapted.apply([{ path: replacing, scale: 1 }]);
      await expectEqual(decoder, await mergedFolder(model, [replacing], [1]));
      await adapted.apply([]);
      expect(decoder.weights.head).toBe(decoder.weights.embedding);
    }
  });
});

test("another dtype than the checkpoint's: what merge --dtype writes, of what adapters change", async () => {
  using decoder = await loadDecoder(gpu, half, {
    dtype: (names) => (names.some((name) => name.includes("layers.")) ? "F32" : undefined),
  });
  await using adapted = await AdaptedWeights.open(decoder, half);
  for (const dtype of ["f32", "keep"] as const) {
    await adapted.apply([{ path: first, scale: 1 }], { dtype });
    await expectEqual(decoder, await mergedFolder(half, [first], [1], dtype));
  }
  expect(decoder.weights.embedding.dtype).toBe("BF16");
});

describe("refused before anything changes", () => {
  test("an adapter for another model", async () => {
    using decoder = await loadDecoder(gpu, STORIES);
    await using adapted = await AdaptedWeights.open(decoder, STORIES);
    await adapted.apply([{ path: second, scale: 1 }]);
    const foreign = await writeAdapter(folder.at("foreign"), { ...FIRST, modules: { "model.x.q_proj": [64, 64] } });
    await expect(adapted.check([{ path: foreign, scale: 1 }])).rejects.toMatchObject({ code: "adapter" });
    expect(await adapted.check([{ path: first, scale: 1 }])).toEqual([]);
    await expect(adapted.apply([{ path: foreign, scale: 1 }])).rejects.toMatchObject({ code: "adapter" });
    expect(adapted.isMixture).toBeFalse();
    await expectEqual(decoder, await mergedFolder(STORIES, [second], [1]));
  });

  test("an adapter that replaces a table which stays in the file", async () => {
    const base = folder.at("table");
    const sizes = { hidden_size_per_layer_input: 8, vocab_size_per_layer_input: 20 };
    await writeArchitecture(base, "gemma4_text", 1, sizes);
    const lora: TestLora = { r: 2, alpha: 2, seed: 1, modules: { [layer(0, "self_attn.o_proj")]: [32, 64] } };
    const adapter = await writeLora(folder.at("of-table"), lora, {
      config: { modules_to_save: ["embed_tokens_per_layer"] },
      tensors: { "base_model.model.model.embed_tokens_per_layer.weight": numbers([20, 8]) },
    });
    using decoder = await loadDecoder(gpu, base);
    await using adapted = await AdaptedWeights.open(decoder, base);
    await expect(adapted.apply([{ path: adapter, scale: 1 }])).rejects.toMatchObject({
      message: expect.stringContaining('"model.embed_tokens_per_layer.weight", which no adapter changes in memory'),
      hint: expect.stringContaining("randlora merge"),
    });
  });

  test("weights that are no numbers", async () => {
    using decoder = await loadDecoder(gpu, STORIES);
    await using adapted = await AdaptedWeights.open(decoder, STORIES);
    const lambda = { ...weights("F32", [4, 16], 1), data: new Uint8Array(new Float32Array(64).fill(NaN).buffer) };
    const name = `base_model.model.${layer(0, "self_attn.q_proj")}.randlora_lambda`;
    const broken = await writeAdapter(folder.at("broken"), FIRST, { tensors: { [name]: lambda } });
    await expect(adapted.apply([{ path: broken, scale: 1 }])).rejects.toMatchObject({ code: "numeric" });
    await adapted.apply([]);
    await expectEqual(decoder, STORIES);
  });
});
