import { expect, test } from "bun:test";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { numbers, safetensorsBytes, writeFolder } from "../../adapters/testing/adapters.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { writeArchitecture } from "../../models/testing/architectures.ts";
import { CLIP, CLIP_SHAPES, DINOV2, DINOV2_SHAPES, writeImageModel } from "../../models/vision/testing/models.ts";
import { findKind } from "../../adapters/formats/open.ts";
import { inspectCheckpoint } from "./inspect-checkpoint.ts";

test("a model: its sizes, tensors by kind and by layer, files", async () => {
  const report = await inspectCheckpoint(STORIES);
  expect(report).toMatchObject({
    architectures: ["LlamaForCausalLM"],
    modelType: "llama",
    config: { hiddenSize: 64 },
    counts: { tensors: 47, parameters: 260_032, dtypes: { F32: { parameters: 260_032, bytes: 4 * 260_032 } } },
    tied: true,
    shards: [{ file: "model.safetensors", tensors: 47, bytes: Bun.file(join(STORIES, "model.safetensors")).size }],
    hasWeights: true,
    problems: [],
  });
  expect(report.counts.layers.map(({ layer }) => layer)).toEqual([0, 1, 2, 3, 4]);
  expect(report.counts.groups.find(({ name }) => name === "model.layers.*.mlp.up_proj.weight")).toEqual({
    name: "model.layers.*.mlp.up_proj.weight",
    dtype: "F32",
    shape: [172, 64],
    tensors: 5,
    parameters: 5 * 172 * 64,
    bytes: 4 * 5 * 172 * 64,
  });
});

test("config.json alone promises the same tensors", async () => {
  await using folder = await TemporaryFolder.create();
  await copyFile(join(STORIES, "config.json"), folder.at("config.json"));
  const [promised, real] = [await inspectCheckpoint(folder.path), await inspectCheckpoint(STORIES)];
  const sorted = ({ counts }: typeof real) => counts.groups.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  expect(sorted(promised)).toEqual(sorted(real));
  expect(promised).toMatchObject({ hasWeights: false, shards: [], tied: true, problems: [] });
});

test("the text decoder of a model with images has the output matrix that is there, whatever config.json says", async () => {
  await using folder = await TemporaryFolder.create();
  await writeArchitecture(folder.path, "mistral3", 1, { tie_word_embeddings: false });
  expect(await inspectCheckpoint(folder.path)).toMatchObject({ tied: false, problems: [] });
  const config = await Bun.file(folder.at("config.json")).json();
  await writeFile(folder.at("config.json"), JSON.stringify({ ...config, tie_word_embeddings: true }));
  expect(await inspectCheckpoint(folder.path)).toMatchObject({ tied: false, problems: [] });
});

test("a lone file, and a model that cannot be run", async () => {
  await using folder = await TemporaryFolder.create();
  const tensors = {
    "h.0.c_fc.weight": numbers([4, 8]),
    "h.0.c_fc.bias": { dtype: "BF16" as const, shape: [8], data: new Uint8Array(16) },
  };
  await writeFile(folder.at("x.safetensors"), safetensorsBytes(tensors));
  const lone = await inspectCheckpoint(folder.at("x.safetensors"));
  expect(lone).toMatchObject({ modelType: undefined, config: undefined, tied: undefined, problems: [] });
  expect(lone.counts.dtypes).toEqual({ F32: { parameters: 32, bytes: 128 }, BF16: { parameters: 8, bytes: 16 } });
  await writeFile(folder.at("config.json"), JSON.stringify({ model_type: "mamba", tie_word_embeddings: true }));
  const strange = await inspectCheckpoint(folder.path);
  expect(strange).toMatchObject({ modelType: "mamba", tied: true, counts: { parameters: 40 } });
  expect(strange.problems.map(({ message }) => message)).toEqual([expect.stringContaining('"mamba" cannot be run')]);
});

test("weights that do not belong to config.json", async () => {
  await using folder = await TemporaryFolder.create();
  await copyFile(join(STORIES, "config.json"), folder.at("config.json"));
  await writeFile(folder.at("model.safetensors"), safetensorsBytes({ "model.norm.weight": numbers([64]) }));
  const report = await inspectCheckpoint(folder.path);
  expect(report.counts.parameters).toBe(64);
  expect(report.problems.map(({ message }) => message)).toEqual([expect.stringContaining("missing weights")]);
});

test("names tell adapters from checkpoints", async () => {
  await using folder = await TemporaryFolder.create();
  const adapter = await writeFolder(folder.at("adapter"), {}, {});
  await mkdir(folder.at("run", "best"), { recursive: true });
  await mkdir(folder.at("full", "model"), { recursive: true });
  await mkdir(folder.at("empty"));
  for (const path of ["run/run.json", "full/run.json", "full/model/config.json", "a.json", "x.safetensors"]) {
    await writeFile(folder.at(path), "{}");
  }
  await writeFolder(folder.at("named", "mine"), {}, {});
  const kinds = async (path: string) => await findKind(folder.at(path));
  expect(await findKind(adapter)).toEqual({ kind: "adapter", path: adapter });
  expect(await kinds("adapter/adapter_model.safetensors")).toMatchObject({ kind: "adapter" });
  expect(await kinds("run")).toEqual({ kind: "adapter", path: folder.at("run") });
  expect(await kinds("full")).toEqual({ kind: "checkpoint", path: folder.at("full", "model") });
  expect(await kinds("named")).toMatchObject({ kind: "adapter" });
  expect(await kinds("a.json")).toMatchObject({ kind: "adapter" });
  expect(await kinds("x.safetensors")).toMatchObject({ kind: "checkpoint" });
  expect(await kinds("full/model/config.json")).toEqual({ kind: "checkpoint", path: folder.at("full", "model") });
  expect(await findKind(STORIES)).toEqual({ kind: "checkpoint", path: STORIES });
  expect((await refusalOf(() => kinds("empty"))).message).toContain("neither an adapter");
  expect((await refusalOf(() => kinds("nothing"))).code).toBe("file");
});

test("models of images: their sizes, and weights that do not belong to config.json", async () => {
  await using folder = await TemporaryFolder.create();
  const [clip, dinov2] = [folder.at("clip"), folder.at("dinov2")];
  await writeImageModel(clip, CLIP, CLIP_SHAPES);
  await writeImageModel(dinov2, { ...DINOV2, qkv_bias: false }, DINOV2_SHAPES);
  expect(await inspectCheckpoint(clip)).toMatchObject({
    modelType: "clip",
    config: undefined,
    images: { vision: { image: [12, 12], patch: [5, 5] }, text: { vocabularySize: 20 }, classifier: undefined },
    problems: [],
  });
  const { images, problems } = await inspectCheckpoint(dinov2);
  expect(images).toMatchObject({ vision: { encoder: { width: 8 } }, text: undefined });
  expect(problems.map(({ message }) => message)).toEqual([expect.stringContaining("query.bias")]);
});
