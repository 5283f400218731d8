import { describe, expect, test } from "bun:test";
import { readdir, readFile } from "node:fs/promises";
import { BLOCK_ROWS } from "../../../compute/device/families/delta.ts";
import { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import { merge } from "./run.ts";
import {
  deltaOf,
  distance,
  readModel,
  rounded,
  slackOf,
  type Tensors,
  type TestAdapter,
  weights,
  widened,
  writeAdapter,
  writeModel,
} from "../testing/models.ts";
import { ADAPTER, LAYER, mergeIn, modelOf, MODULES, Notes, OPTIONS } from "../testing/merge.ts";
import { TemporaryFolder } from "../../../files/testing/folder.ts";

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
    expect([summary.tensors, summary.merged, summary.bases]).toEqual([8, 3, ["torch-mt19937-ternary"]]);
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
    // Of the whole change: each adapter's own figures are others.
    for (const { name, maxAbsDelta, sumOfSquares, changed } of summary.reports) {
      const module = name.replace(/\.weight$/, "");
      const others = deltaOf(other, module, grid);
      const whole = deltaOf(ADAPTER, module, grid).map((x, at) => 2 * (x + (others[at] ?? NaN)));
      const [before, after] = [model[name], tensors[name]].map((tensor) => widened(tensor ?? weights(dtype, [0], 0)));
      expect(maxAbsDelta).toBeCloseTo(Math.max(...whole.map(Math.abs)), 6);
      expect(sumOfSquares).toBeCloseTo(
        whole.reduce((total, x) => total + x * x, 0),
        4,
      );
      expect(changed).toBe(after?.filter((value, at) => value !== before?.[at]).length ?? 0);
    }
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

describe("of a large file, whose large tensors are copied beside the merge of others", () => {
  const large = (bytes: number, salt: number) => {
    const data = new Uint8Array(bytes).map((_, at) => at * 31 + (at >> 12) + salt);
    return { dtype: "U8", shape: [bytes], data } as const;
  };
  const first = large(9 * 2 ** 20 + 4099, 1);
  const model: Tensors = { first, second: large(8 * 2 ** 20, 2), ...modelOf("BF16"), last: large(48 * 2 ** 20 + 1, 3) };

  test("each has its bytes in its place", async () => {
    await using folder = await TemporaryFolder.create();
    await using other = await TemporaryFolder.create();
    const { tensors, notes } = await mergeIn(folder, { tensors: model }, [ADAPTER]);
    const small = await mergeIn(other, { tensors: modelOf("BF16") }, [ADAPTER]);
    expect(Object.keys(tensors)).toEqual(Object.keys(model));
    for (const [name, { data }] of Object.entries({ ...model, ...small.tensors }))
      expect(Buffer.compare(tensors[name]?.data ?? new Uint8Array(), data), name).toBe(0);
    expect(notes.bytesSeen).toBe(notes.total.bytes);
  });

  test("what fails there is the merge's failure, and nothing stays", async () => {
    await using folder = await TemporaryFolder.create();
    class Stopped extends Notes {
      override bytes(count: number): void {
        super.bytes(count);
        if (this.bytesSeen > 40 * 2 ** 20) throw new Error("enough");
      }
    }
    const base = await writeModel(folder.at("base"), { tensors: model });
    const adapter = await writeAdapter(folder.at("adapter"), ADAPTER);
    const options = { ...OPTIONS, base, adapters: [adapter], out: folder.at("out") };
    await expect(merge(options, new Stopped(), new AbortController().signal)).rejects.toThrow("enough");
    expect((await readdir(folder.path)).toSorted()).toEqual(["adapter", "base"]);
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
