import { describe, expect, test } from "bun:test";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Checkpoint } from "../safetensors/checkpoint.ts";
import type { WritableFloatDtype } from "../safetensors/dtype.ts";
import { TemporaryFolder } from "../safetensors/testing.ts";
import { BLOCK_ROWS } from "../adapters/randlora/delta.ts";
import { merge, type MergeObserver, type MergeOptions, type MergeSummary } from "./run.ts";
import {
  deltaOf,
  distance,
  readModel,
  rounded,
  slackOf,
  type Tensors,
  type TestAdapter,
  type TestModel,
  weights,
  widened,
  writeAdapter,
  writeModel,
} from "./testing.ts";

class Notes implements MergeObserver {
  readonly warnings: string[] = [];
  total = { bytes: 0, tensors: 0 };
  readonly seen: string[] = [];
  bytesSeen = 0;
  warn(line: string): void {
    this.warnings.push(line);
  }
  start(total: { bytes: number; tensors: number }): void {
    this.total = total;
  }
  tensor(name: string): void {
    this.seen.push(name);
  }
  bytes(count: number): void {
    this.bytesSeen += count;
  }
}

const OPTIONS = {
  dtype: "keep",
  scales: [],
  rounding: "once",
  maxShardSize: 5e9,
  unmerge: false,
  verify: true,
  force: false,
  dryRun: false,
} as const;

interface Merged {
  readonly summary: MergeSummary;
  readonly notes: Notes;
  readonly tensors: Tensors;
  readonly files: readonly string[];
}

async function mergeIn(
  folder: TemporaryFolder,
  model: TestModel,
  adapters: readonly TestAdapter[],
  options: Partial<MergeOptions> = {},
): Promise<Merged> {
  const base = await writeModel(folder.at("base"), model);
  const paths: string[] = [];
  for (const [i, adapter] of adapters.entries()) paths.push(await writeAdapter(folder.at(`adapter${i}`), adapter));
  const notes = new Notes();
  const all = { ...OPTIONS, base, adapters: paths, out: folder.at("out"), ...options };
  const summary = await merge(all, notes, new AbortController().signal);
  return { summary, notes, tensors: await readModel(summary.out), files: (await readdir(folder.at("out"))).toSorted() };
}

const LAYER = "model.layers.0";
/** Square, tall and wide, with widths that are no multiples of anything. */
const MODULES = {
  [`${LAYER}.self_attn.q_proj`]: [37, 37],
  [`${LAYER}.self_attn.v_proj`]: [19, 37],
  [`${LAYER}.mlp.up_proj`]: [75, 37],
} as const;
const ADAPTER: TestAdapter = { r: 5, alpha: 10, seed: 3, modules: MODULES };

function modelOf(dtype: WritableFloatDtype): Tensors {
  const adapted = Object.entries(MODULES).map(([name, shape], i) => [`${name}.weight`, weights(dtype, shape, i)]);
  return {
    "model.embed_tokens.weight": weights(dtype, [50, 37], 10),
    ...Object.fromEntries(adapted),
    [`${LAYER}.mlp.gate.weight`]: { dtype: "F8_E4M3", shape: [3], data: Uint8Array.of(1, 126, 200) },
    "model.norm.weight": weights("F32", [37], 11),
    "model.empty": { dtype: "F32", shape: [0, 4], data: new Uint8Array() },
    "model.steps": { dtype: "I64", shape: [], data: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) },
  };
}

const GRIDS = { F32: "f32", F16: "f16", BF16: "bf16" } as const;

describe.each(["F32", "F16", "BF16"] as const)("a merge in %s", (dtype) => {
  const grid = GRIDS[dtype];
  const model = modelOf(dtype);
  const sum = (name: string, parts: readonly [TestAdapter, number][]): Float64Array => {
    const values = widened(model[`${name}.weight`] ?? weights(dtype, [0], 0));
    for (const [adapter, scale] of parts) {
      const delta = deltaOf(adapter, name, grid);
      values.forEach((value, at) => (values[at] = value + scale * (delta[at] ?? NaN)));
    }
    return values;
  };
  const exact = (values: Float64Array) => widened({ dtype, data: rounded(values, dtype) });

  test("of one file equals the f64 sum rounded once; all else keeps its bytes, order and metadata", async () => {
    await using folder = await TemporaryFolder.create();
    const metadata = { format: "pt", note: "ä" };
    const { summary, notes, tensors, files } = await mergeIn(folder, { tensors: model, metadata }, [ADAPTER]);
    expect(files).toEqual(["config.json", "model.safetensors"]);
    expect(Object.keys(tensors)).toEqual(Object.keys(model));
    for (const [name, tensor] of Object.entries(tensors)) {
      const module = name.replace(/\.weight$/, "");
      if (!(module in MODULES)) expect(tensor).toEqual({ ...tensor, ...model[name] });
      else {
        expect([tensor.dtype, tensor.shape]).toEqual([dtype, model[name]?.shape ?? []]);
        const slack = slackOf(deltaOf(ADAPTER, module, grid));
        const { worst, off } = distance(widened(tensor), exact(sum(module, [[ADAPTER, 1]])), dtype, slack);
        expect(worst).toBeLessThanOrEqual(1);
        if (dtype !== "F32") expect(off / (tensor.data.length / 2)).toBeLessThan(0.001);
      }
    }
    await using out = await Checkpoint.open(folder.at("out"));
    expect(Object.fromEntries(out.files[0]?.header.metadata ?? [])).toEqual(metadata);
    expect(summary.maxErrorUlp).toBeWithin(0.1, dtype === "F32" ? 100 : 0.51);
    expect([summary.tensors, summary.merged, summary.generators]).toEqual([8, 3, ["torch-mt19937-ternary"]]);
    const bytes = Object.values(model).reduce((total, { data }) => total + data.length, 0);
    expect([summary.bytes, notes.bytesSeen, notes.total.bytes]).toEqual([bytes, bytes, bytes]);
    expect(notes.seen).toEqual(Object.keys(model));
    expect(notes.warnings).toEqual([]);
    const largest = Object.keys(MODULES).map((name) => Math.max(...deltaOf(ADAPTER, name, grid).map(Math.abs)));
    summary.reports.forEach(({ maxAbsDelta }, i) => expect(maxAbsDelta).toBeCloseTo(largest[i] ?? NaN, 6));
  });

  test("of several adapters is the f64 sum, each with its scale", async () => {
    await using folder = await TemporaryFolder.create();
    const other = { ...ADAPTER, r: 4, seed: 8 };
    const { tensors } = await mergeIn(folder, { tensors: model }, [ADAPTER, other], { scales: [0.5, -1.25] });
    for (const name of Object.keys(MODULES)) {
      const found = widened(tensors[`${name}.weight`] ?? weights(dtype, [0], 0));
      const want = exact(
        sum(name, [
          [ADAPTER, 0.5],
          [other, -1.25],
        ]),
      );
      const slack = slackOf(deltaOf(ADAPTER, name, grid), deltaOf(other, name, grid));
      const { worst, off } = distance(found, want, dtype, slack);
      expect(worst).toBeLessThanOrEqual(1);
      if (dtype !== "F32") expect(off / want.length).toBeLessThan(0.002);
    }
  });

  test("with --rounding peft rounds ΔW first, adapter after adapter", async () => {
    await using folder = await TemporaryFolder.create();
    const other = { ...ADAPTER, seed: 8 };
    const { tensors, summary } = await mergeIn(folder, { tensors: model }, [ADAPTER, other], {
      rounding: "peft",
      scales: [2],
    });
    for (const name of Object.keys(MODULES)) {
      let want = widened(model[`${name}.weight`] ?? weights(dtype, [0], 0));
      for (const adapter of [ADAPTER, other]) {
        const delta = exact(deltaOf(adapter, name, grid).map((value) => 2 * value));
        want = exact(want.map((value, at) => value + (delta[at] ?? NaN)));
      }
      const found = widened(tensors[`${name}.weight`] ?? weights(dtype, [0], 0));
      const { off } = distance(found, want, dtype);
      if (dtype !== "F32") expect(off / want.length).toBeLessThan(0.01);
    }
    // Of both adapters together, not of the last one alone.
    const first = Math.max(...deltaOf(ADAPTER, `${LAYER}.mlp.up_proj`, grid).map((x) => Math.abs(2 * x)));
    expect(summary.reports[2]?.maxAbsDelta ?? 0).toBeGreaterThanOrEqual(first * 0.999);
  });
});

test("shards: names, index, order and the largest size; other files are copied, foreign weights named", async () => {
  await using folder = await TemporaryFolder.create();
  const model = modelOf("BF16");
  const base = await writeModel(folder.at("base"), { tensors: model, shardBytes: 4000 });
  await Bun.write(folder.at("base", "tokenizer.json"), "{}");
  await Bun.write(folder.at("base", "1_Pooling", "config.json.bak"), "x");
  await Bun.write(folder.at("base", "pytorch_model.bin"), "old");
  await Bun.write(folder.at("base", "model-00007-of-00009.safetensors"), "stale");
  const adapter = await writeAdapter(folder.at("adapter"), ADAPTER);
  const notes = new Notes();
  const options = { ...OPTIONS, base, adapters: [adapter], out: folder.at("new", "out"), maxShardSize: 6000 };
  await merge(options, notes, new AbortController().signal);
  expect(notes.warnings).toEqual([
    "not copied, as they hold unmerged weights: model-00007-of-00009.safetensors, pytorch_model.bin",
  ]);
  await using out = await Checkpoint.open(folder.at("new", "out"));
  expect([...out.tensors.keys()]).toEqual(Object.keys(model));
  expect((await readdir(folder.at("new", "out"))).toSorted()).toEqual([
    "1_Pooling",
    "config.json",
    "model-00001-of-00003.safetensors",
    "model-00002-of-00003.safetensors",
    "model-00003-of-00003.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
  ]);
  for (const file of out.files) {
    const infos = file.header.byOffset;
    if (infos.length > 1) expect(infos.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(6000);
  }
  expect(out.indexMetadata).toEqual({ total_size: out.bytes });
  expect(await readFile(folder.at("new", "out", "config.json"), "utf8")).toBe('{"model_type":"llama"}');

  // The same weights as from one file.
  const single = await mergeIn(folder, { tensors: model }, [ADAPTER]);
  expect(await readModel(folder.at("new", "out"))).toEqual(single.tensors);
});

test("a matrix of several row blocks is merged across their borders", async () => {
  await using folder = await TemporaryFolder.create();
  const name = `${LAYER}.mlp.up_proj`;
  const [out, input] = [4100, 301];
  const adapter = { r: 16, alpha: 32, seed: 1, modules: { [name]: [out, input] } } as const;
  const base = weights("BF16", [out, input], 1);
  const { tensors, notes } = await mergeIn(folder, { tensors: { [`${name}.weight`]: base } }, [adapter]);
  expect(notes.seen).toEqual([`${name}.weight`]);
  const border = Math.floor((4 * 2 ** 20) / (304 * 4) / BLOCK_ROWS) * BLOCK_ROWS;
  expect(border).toBeLessThan(out);
  const sample = { rows: [0, 191, border - 1, border, out - 1], cols: Array.from({ length: input }, (_, i) => i) };
  const delta = deltaOf(adapter, name, "bf16", sample);
  const row = (values: Float64Array, at: number) => values.subarray(at * input, (at + 1) * input);
  const found = widened(tensors[`${name}.weight`] ?? base);
  sample.rows.forEach((at, index) => {
    const values = row(widened(base), at).map((value, col) => value + (delta[index * input + col] ?? NaN));
    const want = widened({ dtype: "BF16", data: rounded(values, "BF16") });
    expect(distance(row(found, at), want, "BF16").worst).toBeLessThanOrEqual(1);
    expect(distance(row(found, at), want, "BF16").off).toBeLessThan(3);
  });
});

test("Conv1D: W is (in, out), and ΔW is transposed", async () => {
  await using folder = await TemporaryFolder.create();
  const name = "transformer.h.0.mlp.c_fc";
  const adapter = { r: 4, alpha: 8, seed: 2, modules: { [name]: [50, 30] } } as const;
  const base = weights("F32", [30, 50], 1);
  const config = { model_type: "gpt2" };
  const { tensors } = await mergeIn(folder, { tensors: { [`${name}.weight`]: base }, config }, [adapter]);
  const delta = deltaOf(adapter, name, "f32");
  const values = widened(base).map((value, at) => value + (delta[(at % 50) * 30 + Math.floor(at / 50)] ?? NaN));
  const want = widened({ dtype: "F32", data: rounded(values, "F32") });
  const found = widened(tensors[`${name}.weight`] ?? base);
  expect(distance(found, want, "F32", slackOf(delta)).worst).toBeLessThanOrEqual(1);
});

test("--unmerge takes a merge back, to the last places of f32", async () => {
  await using folder = await TemporaryFolder.create();
  const model = modelOf("F32");
  const { summary } = await mergeIn(folder, { tensors: model }, [ADAPTER]);
  const back = { ...OPTIONS, base: summary.out, adapters: [folder.at("adapter0")], unmerge: true };
  const { out } = await merge(back, new Notes(), new AbortController().signal);
  expect(out).toBe(folder.at("out-unmerged"));
  const tensors = await readModel(out);
  for (const [name, tensor] of Object.entries(model)) {
    if (tensor.dtype !== "F32") expect(tensors[name]).toEqual({ ...tensors[name], ...tensor });
    else {
      const found = widened(tensors[name] ?? tensor);
      widened(tensor).forEach((value, at) => expect(Math.abs((found[at] ?? NaN) - value)).toBeLessThan(3e-8));
    }
  }
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
  const stories = join(import.meta.dir, "../../../shared/models/stories260k");
  await using folder = await TemporaryFolder.create();
  const before = await readModel(stories);
  const modules: Record<string, readonly [number, number]> = {};
  for (const [name, { shape }] of Object.entries(before)) {
    const [out = 0, input = 0] = shape;
    if (/\.(q_proj|v_proj|up_proj|down_proj)\.weight$/.test(name)) modules[name.slice(0, -7)] = [out, input];
  }
  const adapter: TestAdapter = { r: 6, alpha: 12, seed: 4, modules };
  const adapters = [await writeAdapter(folder.at("adapter"), adapter)];
  const options = { ...OPTIONS, base: stories, adapters, out: folder.at("out") };
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
  const others = (await readdir(stories)).filter((name) => !/safetensors/.test(name)).toSorted();
  expect((await readdir(folder.at("out"))).filter((name) => !/safetensors/.test(name)).toSorted()).toEqual(others);
});

test("a lone file becomes a lone file beside it, without a config.json", async () => {
  await using folder = await TemporaryFolder.create();
  await writeModel(folder.at("base"), { tensors: modelOf("F16") });
  const base = folder.at("weights.safetensors");
  await writeFile(base, await readFile(folder.at("base", "model.safetensors")));
  const options = { ...OPTIONS, base, adapters: [await writeAdapter(folder.at("adapter"), ADAPTER)], maxShardSize: 10 };
  const { out } = await merge(options, new Notes(), new AbortController().signal);
  expect(out).toBe(folder.at("weights-merged.safetensors"));
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
