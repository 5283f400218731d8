import type { GeneratorName } from "../../compute/random/names.ts";
import { parameters, type TestTensor } from "./adapters.ts";
import { convertAdapter, type Conversion, type ConvertOptions } from "../formats/convert.ts";
import { JsonNumber } from "../../files/lossless-json.ts";
import { openAdapter } from "../formats/open.ts";
import { MemoryStdCache } from "./drawn-bases.ts";
import type { StdCache } from "../files/std-cache.ts";
import type { SavedTensors } from "../frozen/kind.ts";
import type { BasesSpec } from "../frozen/drawing/draw.ts";
import { drawTensors } from "../frozen/convert.ts";
import { RANDLORA_BASES } from "../randlora/bases.ts";

/** A seed that a double does not hold. */
export const KEY = 2n ** 53n + 7n;
/** A configuration with numbers and a key that must not be lost. */
export const CONFIG = {
  peft_type: "RANDLORA",
  r: 5,
  randlora_alpha: new JsonNumber("100.0"),
  projection_prng_key: new JsonNumber(String(KEY)),
  target_modules: ["q", "up"],
  save_projection: true,
  from_the_future: { x: new JsonNumber("1e-05") },
};
/** λ and γ of two modules. */
export const OWN = parameters(5, { "model.layers.0.q": 12, "model.layers.0.up": 12 });
const cache = new MemoryStdCache();

/** The pair that a specification draws, as PEFT saves it. */
export function drawnTensors(spec: BasesSpec, std: StdCache = cache): Promise<SavedTensors> {
  return drawTensors(RANDLORA_BASES, { ...spec, dtype: spec.grid }, spec, { cache: std });
}

/** The pair that a generator draws, as PEFT saves it, with the copies of one layer. B has 6000 elements: more than a fingerprint covers. */
export async function drawnPair(
  spec: Partial<BasesSpec> & { generator: GeneratorName },
): Promise<Record<string, TestTensor>> {
  const full: BasesSpec = { key: KEY, r: 5, max: 400, min: 12, sparsity: "dense", grid: "f32", ...spec };
  const { a, b } = await drawnTensors(full, cache);
  const [A, B] = await Promise.all(
    [a, b].map(async (one) => ({ dtype: "F32" as const, shape: one.shape, data: await one.readAll() })),
  );
  if (A === undefined || B === undefined) throw new Error("no pair");
  const layer = "base_model.model.model.layers.0.q";
  return {
    [`${layer}.randlora_A`]: A,
    [`${layer}.randlora_B`]: B,
    "base_model.randlora_A": A,
    "base_model.randlora_B": B,
  };
}

/** Opens, converts, closes. */
export async function convert(
  from: string,
  options: Omit<ConvertOptions, "projections" | "cache"> & { projections?: boolean },
): Promise<Conversion> {
  await using adapter = await openAdapter(from);
  return await convertAdapter(adapter, { projections: undefined, cache, ...options });
}

/** Everything that an adapter says, in a form that can be compared. */
export async function everything(path: string) {
  await using adapter = await openAdapter(path);
  const { config, bases, metadata } = adapter;
  const tensors: Record<string, unknown> = {};
  for (const [name, { dtype, shape, readAll }] of adapter.tensors) {
    tensors[name] = { dtype, shape: [...shape], data: Buffer.from(await readAll()).toString("hex") };
  }
  return { config, bases, metadata: [...metadata], tensors };
}
