import { expect, test } from "bun:test";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../../../../fixtures/stories/storyteller.ts";
import { merge } from "./run.ts";
import {
  deltaOf,
  distance,
  readModel,
  rounded,
  type TestAdapter,
  weights,
  widened,
  writeAdapter,
  writeModel,
} from "../testing/models.ts";
import { ADAPTER, mergeIn, modelOf, MODULES, Notes, OPTIONS } from "../testing/merge.ts";
import { TemporaryFolder } from "../../../files/testing/folder.ts";

test("--unmerge takes a merge back, to the last places of f32", async () => {
  await using folder = await TemporaryFolder.create();
  const model = modelOf("F32");
  const { summary } = await mergeIn(folder, { tensors: model }, [ADAPTER]);
  const [adapters, back] = [[folder.at("adapter0")], folder.at("back")];
  const options = { ...OPTIONS, base: summary.out, adapters, out: back, unmerge: true };
  const { out } = await merge(options, new Notes(), new AbortController().signal);
  const tensors = await readModel(out);
  for (const [name, tensor] of Object.entries(model)) {
    if (tensor.dtype !== "F32") expect(tensors[name]).toEqual({ ...tensors[name], ...tensor });
    else {
      const found = widened(tensors[name] ?? tensor);
      widened(tensor).forEach((value, at) => expect(Math.abs((found[at] ?? NaN) - value)).toBeLessThan(3e-8));
    }
  }
});

test("a merge has the same bytes on three threads as on one", async () => {
  await using folder = await TemporaryFolder.create();
  const { tensors } = await mergeIn(folder, { tensors: modelOf("BF16") }, [ADAPTER]);
  const device = { ...OPTIONS.device, threads: 3 };
  const options = {
    ...OPTIONS,
    device,
    base: folder.at("base"),
    adapters: [folder.at("adapter0")],
    out: folder.at("three"),
  };
  const { out } = await merge(options, new Notes(), new AbortController().signal);
  expect(await readModel(out)).toEqual(tensors);
});

test("--dtype converts every floating tensor, merges F64 weights, and tells config.json", async () => {
  await using folder = await TemporaryFolder.create();
  const model = modelOf("F64");
  const config = { model_type: "llama", torch_dtype: "float64" };
  const { tensors } = await mergeIn(folder, { tensors: model, config }, [ADAPTER], { dtype: "bf16" });
  for (const [name, { dtype, data }] of Object.entries(tensors)) {
    const before = model[name] ?? weights("F64", [0], 0);
    const module = name.replace(/\.weight$/, "");
    expect(dtype).toBe(name === "model.steps" ? "I64" : "BF16");
    if (module in MODULES) {
      const delta = deltaOf(ADAPTER, module, "f32");
      const values = widened(before).map((value, at) => value + (delta[at] ?? NaN));
      const want = widened({ dtype: "BF16", data: rounded(values, "BF16") });
      expect(distance(widened({ dtype, data }), want, "BF16").worst).toBeLessThanOrEqual(1);
    } else if (name !== "model.steps") {
      expect(Buffer.from(data)).toEqual(Buffer.from(rounded(widened(before), "BF16")));
    } else expect(data).toEqual(before.data);
  }
  const written: unknown = JSON.parse(await readFile(folder.at("out", "config.json"), "utf8"));
  expect(written).toEqual({ model_type: "llama", torch_dtype: "bfloat16" });
});

test("an adapted, tied output embedding is written as its own tensor, and config.json says so", async () => {
  await using folder = await TemporaryFolder.create();
  const embedding = weights("BF16", [50, 37], 1);
  const config = { model_type: "llama", tie_word_embeddings: true };
  const adapter = { r: 5, alpha: 10, seed: 3, modules: { lm_head: [50, 37] } } as const;
  const tensors = { "model.embed_tokens.weight": embedding };
  const merged = await mergeIn(folder, { tensors, config }, [adapter]);
  expect(Object.keys(merged.tensors)).toEqual(["model.embed_tokens.weight", "lm_head.weight"]);
  expect(merged.tensors["model.embed_tokens.weight"]?.data).toEqual(embedding.data);
  const delta = deltaOf(adapter, "lm_head", "bf16");
  const values = widened(embedding).map((value, at) => value + (delta[at] ?? NaN));
  const want = widened({ dtype: "BF16", data: rounded(values, "BF16") });
  expect(distance(widened(merged.tensors["lm_head.weight"] ?? embedding), want, "BF16").worst).toBeLessThanOrEqual(1);
  const written: unknown = JSON.parse(await readFile(folder.at("out", "config.json"), "utf8"));
  expect(written).toEqual({ model_type: "llama", tie_word_embeddings: false });
});

test("a real model is merged, and all that was not adapted is what it was", async () => {
  await using folder = await TemporaryFolder.create();
  const before = await readModel(STORIES);
  const modules: Record<string, readonly [number, number]> = {};
  for (const [name, { shape }] of Object.entries(before)) {
    const [out = 0, input = 0] = shape;
    if (/\.(q_proj|v_proj|up_proj|down_proj)\.weight$/.test(name)) modules[name.slice(0, -7)] = [out, input];
  }
  const adapter: TestAdapter = { r: 6, alpha: 12, seed: 4, modules };
  const adapters = [await writeAdapter(folder.at("adapter"), adapter)];
  const options = { ...OPTIONS, base: STORIES, adapters, out: folder.at("out") };
  const { merged, reports } = await merge(options, new Notes(), new AbortController().signal);
  expect(merged).toBe(20);
  // A column of A whose 6 elements are all 0, one of 11, changes nothing.
  for (const { changed, elements } of reports) expect(changed / elements).toBeWithin(0.7, 1);
  const after = await readModel(folder.at("out"));
  expect(Object.keys(after)).toEqual(Object.keys(before));
  for (const [name, tensor] of Object.entries(after)) {
    expect(Buffer.compare(tensor.data, before[name]?.data ?? new Uint8Array()) === 0).toBe(
      !(name.slice(0, -7) in modules),
    );
  }
  const others = (await readdir(STORIES)).filter((name) => !/safetensors/.test(name)).toSorted();
  expect((await readdir(folder.at("out"))).filter((name) => !/safetensors/.test(name)).toSorted()).toEqual(others);
});

test("a lone file becomes a lone file, without a config.json", async () => {
  await using folder = await TemporaryFolder.create();
  await writeModel(folder.at("base"), { tensors: modelOf("F16") });
  const base = folder.at("weights.safetensors");
  await writeFile(base, await readFile(folder.at("base", "model.safetensors")));
  const adapters = [await writeAdapter(folder.at("adapter"), ADAPTER)];
  const options = { ...OPTIONS, base, adapters, maxShardSize: 10, out: folder.at("weights-merged.safetensors") };
  const { out } = await merge(options, new Notes(), new AbortController().signal);
  expect((await readdir(folder.path)).toSorted()).toEqual([
    "adapter",
    "base",
    "weights-merged.safetensors",
    "weights.safetensors",
  ]);
  expect(Object.keys(await readModel(out))).toEqual(Object.keys(modelOf("F16")));
});

test("an output inside the base's folder does not hold a copy of itself or of the one before", async () => {
  await using folder = await TemporaryFolder.create();
  for (const force of [false, true]) {
    const out = folder.at("base", "merged");
    await writeAdapter(folder.at("adapter0"), ADAPTER);
    const base = force ? folder.at("base") : await writeModel(folder.at("base"), { tensors: modelOf("BF16") });
    const options = { ...OPTIONS, base, adapters: [folder.at("adapter0")], out, force };
    await merge(options, new Notes(), new AbortController().signal);
    expect((await readdir(out)).toSorted()).toEqual(["config.json", "model.safetensors"]);
  }
});

test("--force replaces an output with the base's own subfolders, not one with other folders in it", async () => {
  await using folder = await TemporaryFolder.create();
  const base = await writeModel(folder.at("base"), { tensors: modelOf("BF16") });
  await mkdir(join(base, "original"));
  await writeFile(join(base, "original", "params.json"), "{}");
  const adapters = [await writeAdapter(folder.at("adapter"), ADAPTER)];
  const options = { ...OPTIONS, base, adapters, out: folder.at("out"), force: true };
  const again = () => merge(options, new Notes(), new AbortController().signal);
  await again();
  await again();
  await mkdir(folder.at("out", "other-model"));
  await expect(again()).rejects.toThrow('it holds "other-model"');
  expect((await readdir(folder.at("out"))).toSorted()).toEqual([
    "config.json",
    "model.safetensors",
    "original",
    "other-model",
  ]);
});

test("a dry run plans everything and writes nothing, not even a folder", async () => {
  await using folder = await TemporaryFolder.create();
  const base = await writeModel(folder.at("base"), { tensors: modelOf("BF16") });
  const adapters = [await writeAdapter(folder.at("adapter"), ADAPTER)];
  const options = { ...OPTIONS, base, adapters, out: folder.at("new", "out"), dryRun: true };
  const summary = await merge(options, new Notes(), new AbortController().signal);
  expect([summary.tensors, summary.merged, summary.out]).toEqual([8, 3, folder.at("new", "out")]);
  expect((await readdir(folder.path)).toSorted()).toEqual(["adapter", "base"]);
});

test.each([1, 3, 8])("stopped at tensor %d, a merge leaves nothing", async (stopAt) => {
  await using folder = await TemporaryFolder.create();
  const base = await writeModel(folder.at("base"), { tensors: modelOf("BF16") });
  const adapters = [await writeAdapter(folder.at("adapter"), ADAPTER)];
  const stop = new AbortController();
  class Stopper extends Notes {
    override tensor(name: string): void {
      super.tensor(name);
      if (this.seen.length === stopAt) stop.abort(new Error("stopped"));
    }
  }
  const options = { ...OPTIONS, base, adapters, out: folder.at("new", "out") };
  await expect(merge(options, new Stopper(), stop.signal)).rejects.toThrow("stopped");
  expect((await readdir(folder.path)).toSorted()).toEqual(["adapter", "base"]);
});
