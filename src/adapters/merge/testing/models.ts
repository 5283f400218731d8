// What the tests of merges share: small models and adapters on the disk, and what a merge of them must give.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { FloatGrid } from "../../../compute/random/names.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { JsonObject } from "../../../files/lossless-json.ts";
import { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import { type Dtype, dtypeBytes, type FloatDtype, type WritableFloatDtype } from "../../../files/safetensors/dtype.ts";
import { roundFromF64, widenToF64 } from "../../../files/safetensors/numbers.ts";
import { encodeIndex, INDEX_FILE, planShards } from "../../../files/safetensors/shards.ts";
import { deltaReference } from "../../delta/scaled-bases/delta.ts";
import { drawBases } from "../../frozen/drawing/draw.ts";
import { RANDLORA_BASES } from "../../randlora/bases.ts";
import { randloraShape } from "../../randlora/plan.ts";
import { safetensorsBytes, type TestTensor, writeFolder } from "../../testing/adapters.ts";
import { ulp } from "../to-files/verify.ts";

export type Tensors = Readonly<Record<string, TestTensor>>;

/** A repeatable source of numbers from −1 to 1. */
export function noise(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

/** A tensor of numbers within ±`size`, rounded to `dtype`. */
export function weights(
  dtype: WritableFloatDtype,
  shape: readonly number[],
  seed: number,
  size = 0.1,
): TestTensor & { readonly dtype: WritableFloatDtype } {
  const next = noise(seed);
  const count = shape.reduce((product, extent) => product * extent, 1);
  return {
    dtype,
    shape,
    data: rounded(
      Float64Array.from({ length: count }, () => size * next()),
      dtype,
    ),
  };
}

/** f64 numbers as bytes of a dtype. */
export function rounded(values: Float64Array, dtype: WritableFloatDtype): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(values.length * dtypeBytes(dtype));
  roundFromF64(values, dtype, bytes);
  return bytes;
}

/** Bytes of a dtype as f64 numbers. */
export function widened({ dtype, data }: { readonly dtype: Dtype; readonly data: Uint8Array }): Float64Array {
  const values = new Float64Array(data.length / dtypeBytes(dtype));
  widenToF64(data, dtype as FloatDtype, values);
  return values;
}

/** A sparse adapter: its modules are (out, in). */
export interface TestAdapter {
  readonly r: number;
  readonly alpha: number;
  readonly seed: number;
  readonly modules: Readonly<Record<string, readonly [out: number, input: number]>>;
  /** Size of λ; γ is about 1. */
  readonly size?: number;
}

/** λ (r, n) and γ (n, m) of every module. */
function parametersOf({ r, seed, modules, size = 0.01 }: TestAdapter) {
  return Object.entries(modules).map(([module, [out, input]], index) => {
    const next = noise(seed * 100 + index);
    const m = Math.min(out, input);
    const n = Math.ceil(m / r);
    const lambda = Float32Array.from({ length: r * n }, () => size * next());
    const gamma = Float32Array.from({ length: n * m }, () => (1 + 0.5 * next()) / Math.sqrt(m));
    return { module, out, in: input, m, n, lambda, gamma };
  });
}

/** The adapter's tensors under PEFT's names. */
export function adapterTensors(adapter: TestAdapter): Record<string, TestTensor> {
  const tensors: Record<string, TestTensor> = {};
  for (const { module, m, n, lambda, gamma } of parametersOf(adapter)) {
    const f32 = (shape: readonly number[], values: Float32Array<ArrayBuffer>): TestTensor => ({
      dtype: "F32",
      shape,
      data: new Uint8Array(values.buffer),
    });
    tensors[`base_model.model.${module}.randlora_lambda`] = f32([adapter.r, n], lambda);
    tensors[`base_model.model.${module}.randlora_gamma`] = f32([n, m], gamma);
  }
  return tensors;
}

/** PEFT's configuration of the adapter. */
export function adapterConfig({ r, alpha, seed, modules }: TestAdapter): JsonObject {
  return {
    peft_type: "RANDLORA",
    r,
    randlora_alpha: alpha,
    projection_prng_key: seed,
    save_projection: false,
    sparse: true,
    target_modules: Object.keys(modules),
  };
}

/** Writes the adapter as a PEFT folder; `config` and `tensors` are added to, or take the place of, its own; `metadata` are its file's. */
export async function writeAdapter(
  folder: string,
  adapter: TestAdapter,
  { config = {}, tensors = {}, metadata }: WrittenAdapter = {},
): Promise<string> {
  const own = { ...adapterTensors(adapter), ...tensors };
  return writeFolder(folder, { ...adapterConfig(adapter), ...config }, own, metadata);
}

interface WrittenAdapter {
  readonly config?: JsonObject;
  readonly tensors?: Tensors;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** ΔW (out, in) of one module in f64, α/r included, on bases that end on `grid`. */
export function deltaOf(
  adapter: TestAdapter,
  module: string,
  grid: FloatGrid,
  sample?: { readonly rows: readonly number[]; readonly cols: readonly number[] },
): Float64Array {
  const all = parametersOf(adapter);
  const layer = all.find((one) => one.module === module);
  if (layer === undefined) throw new RangeError(module);
  const spec = {
    generator: "torch-mt19937-ternary",
    key: BigInt(adapter.seed),
    r: adapter.r,
    ...RANDLORA_BASES.sizesFor(all),
    sparsity: "sparse",
    grid,
  } as const;
  const extent = { rows: Math.max(layer.out, layer.in), bases: layer.n, cols: layer.m };
  const shape = randloraShape(layer.out, layer.in, adapter.r);
  const scale = adapter.alpha / adapter.r;
  return deltaReference(drawBases(spec, extent, NO_CACHE), { ...layer, shape, scale, pairing: "peft" }, sample);
}

const NO_CACHE = { get: () => null, set: () => {} };

export interface TestModel {
  readonly tensors: Tensors;
  /** config.json; a Llama's by default. */
  readonly config?: JsonObject;
  /** Bytes in one shard; a single file by default. */
  readonly shardBytes?: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Writes a model folder. */
export async function writeModel(folder: string, model: TestModel): Promise<string> {
  const { tensors, config = { model_type: "llama" }, shardBytes = Infinity, metadata } = model;
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
  const shards = planShards(
    Object.entries(tensors).map(([name, tensor]) => ({ name, ...tensor })),
    shardBytes,
  );
  for (const shard of shards) {
    const own = Object.fromEntries(shard.tensors.map(({ name, dtype, shape, data }) => [name, { dtype, shape, data }]));
    await writeFile(join(folder, shard.file), safetensorsBytes(own, metadata));
  }
  if (shards.length > 1) await writeFile(join(folder, INDEX_FILE), encodeIndex(shards));
  return folder;
}

/** Every tensor of a checkpoint, in its order. */
export async function readModel(path: string): Promise<Record<string, TestTensor>> {
  await using checkpoint = await Checkpoint.open(path);
  const tensors: Record<string, TestTensor> = {};
  for (const [name, { file, info }] of checkpoint.tensors) {
    const data = new Uint8Array(info.bytes);
    await file.read(info, data);
    tensors[name] = { dtype: info.dtype, shape: info.shape, data };
  }
  return tensors;
}

/** What sums in f32 may be off by: 2e-6 of the largest |ΔW|. */
export function slackOf(...deltas: readonly Float64Array[]): number {
  return 2e-6 * deltas.reduce((sum, delta) => sum + Math.max(...delta.map(Math.abs)), 0);
}

/**
 * Distances between two tensors' values, in units of the last place of `dtype`: the largest, and how many are not 0.
 * Those of at most `slack` do not count for the largest: f32 sums may be off by 2e-6 of the largest |ΔW|.
 */
export function distance(
  found: Float64Array,
  want: Float64Array,
  dtype: "F32" | "F16" | "BF16",
  slack = 0,
): { readonly worst: number; readonly off: number } {
  let worst = found.length === want.length ? 0 : Infinity;
  let off = 0;
  want.forEach((value, at) => {
    const error = Math.abs(itemAt(found, at) - value);
    if (error !== 0) off++;
    const units = error / ulp(value, dtype);
    if (!(error <= slack || units <= worst)) worst = units;
  });
  return { worst, off };
}
