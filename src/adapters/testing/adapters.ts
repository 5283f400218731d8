import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Dtype } from "../../files/safetensors/dtype.ts";
import { encodeHeader } from "../../files/safetensors/writer.ts";
import type { BaseModel } from "../base/base.ts";
import { type Json, stringifyLossless } from "../../files/lossless-json.ts";

/** A tensor of a test's file. */
export interface TestTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** f32 elements as a tensor. */
export function f32(shape: readonly number[], values: ArrayLike<number>): TestTensor {
  return { dtype: "F32", shape, data: new Uint8Array(Float32Array.from(values).buffer) };
}

/** An f32 tensor of unremarkable numbers that differ by `salt`. */
export function numbers(shape: readonly number[], salt = 0): TestTensor {
  const count = shape.reduce((product, size) => product * size, 1);
  return f32(
    shape,
    Array.from({ length: count }, (_, i) => Math.sin(i * 12.9898 + salt) / 8),
  );
}

/** The bytes of a safetensors file. */
export function safetensorsBytes(
  tensors: Readonly<Record<string, TestTensor>>,
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): Uint8Array {
  const planned = Object.entries(tensors).map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  const header = encodeHeader(planned, new Map(Object.entries(metadata)));
  return Buffer.concat([header, ...Object.values(tensors).map(({ data }) => data)]);
}

/** Writes a PEFT folder as it is said. */
export async function writeFolder(
  folder: string,
  config: Json,
  tensors: Readonly<Record<string, TestTensor>>,
  metadata?: Readonly<Record<string, string>>,
): Promise<string> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "adapter_config.json"), stringifyLossless(config));
  await writeFile(join(folder, "adapter_model.safetensors"), safetensorsBytes(tensors, metadata));
  return folder;
}

/** λ (r, n) and γ (n, m) of modules, under PEFT's names. */
export function parameters(
  r: number,
  modules: Readonly<Record<string, number>>,
  prefix = "base_model.model.",
): Record<string, TestTensor> {
  const tensors: Record<string, TestTensor> = {};
  let salt = 0;
  for (const [module, m] of Object.entries(modules)) {
    const n = Math.ceil(m / r);
    tensors[`${prefix}${module}.randlora_lambda`] = numbers([r, n], ++salt);
    tensors[`${prefix}${module}.randlora_gamma`] = numbers([n, m], ++salt);
  }
  return tensors;
}

/** A base model of which only names and shapes exist. */
export function baseOf(
  shapes: Readonly<Record<string, readonly number[]>>,
  config: BaseModel["config"] = { model_type: "llama" },
  dtype: Dtype = "F32",
): BaseModel {
  return {
    path: "base",
    tensors: new Map(Object.entries(shapes).map(([name, shape]) => [name, { dtype, shape }])),
    config,
  };
}
