import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { BaseModel, PathShift } from "../base/base.ts";
import { type AdaptedLayer, adaptedLayer } from "../base/layers.ts";
import type { Adapter, AdapterTensor } from "../adapter.ts";
import { readValues, requireFloats } from "../files/values.ts";
import type { VeraConfig } from "./config.ts";

/** PEFT's names of the trained vectors. */
export const LAMBDA_B = ".vera_lambda_b";
export const LAMBDA_D = ".vera_lambda_d";

/** The trained tensors of one module. */
export interface VeraVectors {
  /** The module's dotted path, as the adapter names it. */
  readonly module: string;
  /** λ_d (r). */
  readonly d: AdapterTensor;
  /** λ_b (out). */
  readonly b: AdapterTensor;
}

/** One adapted weight. */
export interface VeraLayer extends VeraVectors, AdaptedLayer {}

/** Is this tensor one of the trained vectors, by its name? */
export function isVector(name: string): boolean {
  return name.endsWith(LAMBDA_B) || name.endsWith(LAMBDA_D);
}

/**
 * λ_d and λ_b of an adapter, module by module in the order of the file.
 * Throws `RandloraError` "adapter" or "format" when one is missing or does not fit `r`.
 */
export function veraVectors(adapter: Adapter, { r }: VeraConfig): VeraVectors[] {
  const found: VeraVectors[] = [];
  for (const [name, tensor] of adapter.tensors) {
    if (!isVector(name)) continue;
    const [own, other] = name.endsWith(LAMBDA_B) ? [LAMBDA_B, LAMBDA_D] : [LAMBDA_D, LAMBDA_B];
    const module = name.slice(0, -own.length);
    const pair = adapter.tensors.get(module + other);
    if (pair === undefined) {
      const cause = `${quote(name)} has no ${other.slice(1)} beside it`;
      throw new RandloraError("format", `${oneLine(adapter.file)}: ${cause}`, "the file is incomplete: save it again");
    }
    if (own === LAMBDA_D) continue;
    const vectors = { module, d: pair, b: tensor };
    checkShapes(adapter, vectors, r);
    found.push(vectors);
  }
  if (found.length > 0) return found;
  const hint = "an adapter that was saved before it was trained, or that is split, cannot be applied";
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: no ${LAMBDA_B.slice(1)} of any module`, hint);
}

function checkShapes(adapter: Adapter, { d, b }: VeraVectors, r: number): void {
  const refuse = (tensor: AdapterTensor, cause: string) => {
    const shape = `tensor ${quote(tensor.name)} has shape [${tensor.shape.join(", ")}]`;
    throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${shape}, ${cause}`, "λ_d is (r) and λ_b (out)");
  };
  if (d.shape.length !== 1 || d.shape[0] !== r) refuse(d, `but r is ${r} in ${oneLine(adapter.configFile)}`);
  if (b.shape.length !== 1 || b.shape[0] === 0) refuse(b, "not a vector");
  requireFloats(adapter, d);
  requireFloats(adapter, b);
}

/** Joins trained vectors and the base's weights. Throws `RandloraError` "adapter" naming both where they do not fit. */
export function veraLayers(
  adapter: Adapter,
  config: VeraConfig,
  vectors: readonly VeraVectors[],
  base: BaseModel,
  shift: PathShift,
): VeraLayer[] {
  return vectors.map((own) => {
    const layer = adaptedLayer(own.module, adapter, base, shift, config.fanInFanOut);
    const [count] = own.b.shape;
    if (count === layer.out) return { ...own, ...layer };
    const ours = `${quote(own.b.name)} has ${count} numbers`;
    const theirs = `${quote(layer.source)} of ${oneLine(base.path)} has shape [${layer.shape.join(", ")}]`;
    const hint = `λ_b must have ${layer.out}: the adapter was made for another model`;
    throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${ours}, but ${theirs}`, hint);
  });
}

/** λ_d as λ (r, 1) and λ_b as γ (1, out). Throws `RandloraError` "numeric" naming the tensor that holds NaN or infinity. */
export async function readVectors(
  adapter: Adapter,
  { d, b }: VeraVectors,
): Promise<{ lambda: Float32Array<ArrayBuffer>; gamma: Float32Array<ArrayBuffer> }> {
  return { lambda: await readValues(adapter, d), gamma: await readValues(adapter, b) };
}
