import type { JsonObject } from "../../files/lossless-json.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { openPeft } from "../formats/peft.ts";
import type { Adapter } from "../files/adapter.ts";
import { f32, numbers, type TestTensor, writeFolder } from "./adapters.ts";

/** A VeRA adapter of modules that are (out, in). */
export interface TestVera {
  readonly r: number;
  readonly modules: Readonly<Record<string, readonly [out: number, input: number]>>;
  /** What is different of its settings; the targets are the modules. */
  readonly config?: JsonObject;
  /** Instead of, or beside, λ_b and λ_d. */
  readonly tensors?: Readonly<Record<string, TestTensor>>;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** λ_b (out) and λ_d (r) of one module. */
export function vectorsOf({ r, modules }: TestVera, module: string) {
  const index = Object.keys(modules).indexOf(module);
  const [out = 0] = modules[module] ?? [];
  const wave = (count: number, salt: number) =>
    Float32Array.from({ length: count }, (_, i) => Math.sin(i * 1.7 + salt));
  return { b: wave(out, index + 1), d: wave(r, index + 40) };
}

/** Its vectors under PEFT's names. */
export function veraTensors(vera: TestVera): Record<string, TestTensor> {
  const tensors: Record<string, TestTensor> = {};
  for (const module of Object.keys(vera.modules)) {
    const { b, d } = vectorsOf(vera, module);
    tensors[`base_model.model.${module}.vera_lambda_b`] = f32([b.length], b);
    tensors[`base_model.model.${module}.vera_lambda_d`] = f32([d.length], d);
  }
  return tensors;
}

/** A pair of factors that no generator draws, as PEFT saves it. */
export function foreignFactors(r: number, maxIn: number, maxOut: number): Record<string, TestTensor> {
  return { "base_model.vera_A": numbers([r, maxIn], 1), "base_model.vera_B": numbers([maxOut, r], 2) };
}

/** Writes it as a PEFT folder. */
export async function writeVera(folder: string, vera: TestVera): Promise<string> {
  const { r, modules, config, tensors, metadata } = vera;
  const settings = { peft_type: "VERA", r, target_modules: Object.keys(modules), save_projection: false, ...config };
  return await writeFolder(folder, settings, tensors ?? veraTensors(vera), metadata);
}

/** Writes it, opens it for `use`, and cleans up. */
export async function withVera<T>(vera: TestVera, use: (adapter: Adapter) => T | Promise<T>): Promise<T> {
  await using folder = await TemporaryFolder.create();
  await using adapter = await openPeft(await writeVera(folder.at("a"), vera));
  return await use(adapter);
}
