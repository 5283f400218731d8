import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { BaseModel, PathShift } from "../base/base.ts";
import { type AdaptedLayer, adaptedLayer } from "../base/layers.ts";
import type { Adapter, AdapterTensor } from "../adapter.ts";
import { readValues, requireFloats } from "../files/values.ts";
import type { MagnitudeName } from "../delta/magnitude/vectors.ts";
import type { RandloraConfig } from "./config.ts";
import { moduleBases } from "./shape.ts";

const LAMBDA = ".randlora_lambda";
const GAMMA = ".randlora_gamma";
/** What a magnitude adds to a module. */
export const MAGNITUDE: MagnitudeName = "randlora_magnitude_vector";

/** The trained tensors of one module. */
export interface RandloraParameters {
  /** The module's dotted path, as the adapter names it. */
  readonly module: string;
  /** λ (r, n). */
  readonly lambda: AdapterTensor;
  /** γ (n, m). */
  readonly gamma: AdapterTensor;
}

/** One adapted weight, and how its ΔW is oriented. */
export interface RandloraLayer extends RandloraParameters, AdaptedLayer {
  /** M = max(out, in). */
  readonly rows: number;
  /** m = min(out, in). */
  readonly cols: number;
  /** n: see `moduleBases`. */
  readonly bases: number;
}

/**
 * The λ and γ of an adapter, module by module in the order of the file, with shapes that fit each other and `r`.
 * Throws `RandloraError` "adapter" or "format" when one is missing or does not fit.
 */
export function randloraParameters(adapter: Adapter, config: RandloraConfig): RandloraParameters[] {
  const found: RandloraParameters[] = [];
  for (const [name, tensor] of adapter.tensors) {
    const suffix = name.endsWith(LAMBDA) ? LAMBDA : name.endsWith(GAMMA) ? GAMMA : undefined;
    if (suffix === undefined) continue;
    const module = name.slice(0, -suffix.length);
    const other = adapter.tensors.get(module + (suffix === LAMBDA ? GAMMA : LAMBDA));
    if (other === undefined) {
      const cause = `${quote(name)} has no ${(suffix === LAMBDA ? GAMMA : LAMBDA).slice(1)} beside it`;
      throw new RandloraError("format", `${oneLine(adapter.file)}: ${cause}`, "the file is incomplete: save it again");
    }
    if (suffix === GAMMA) continue;
    found.push({ module, lambda: tensor, gamma: other });
    checkShapes(adapter, tensor, other, config);
  }
  if (found.length > 0) return found;
  const hint = "an adapter that was saved before it was trained, or that is split, cannot be applied";
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: no ${LAMBDA.slice(1)} of any module`, hint);
}

function checkShapes(
  adapter: Adapter,
  lambda: AdapterTensor,
  gamma: AdapterTensor,
  { r, half }: Pick<RandloraConfig, "r" | "half">,
): void {
  const [rank = 0, n = 0] = lambda.shape;
  const [gammaN = 0, m = 0] = gamma.shape;
  const refuse = (tensor: AdapterTensor, cause: string) => {
    const shape = `tensor ${quote(tensor.name)} has shape [${tensor.shape.join(", ")}]`;
    throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${shape}, ${cause}`, "λ is (r, n) and γ (n, m)");
  };
  if (lambda.shape.length !== 2 || rank !== r) refuse(lambda, `but r is ${r} in ${oneLine(adapter.configFile)}`);
  if (gamma.shape.length !== 2 || gammaN !== n) refuse(gamma, `but λ has n = ${n}`);
  const bases = moduleBases(m, r, half);
  if (m < 1 || bases !== n) refuse(gamma, `but m = ${m} and r = ${r} make n = ${bases}`);
  requireFloats(adapter, lambda);
  requireFloats(adapter, gamma);
}

/** Joins trained tensors and the base's weights. Throws `RandloraError` "adapter" naming both where they do not fit. */
export function randloraLayers(
  adapter: Adapter,
  config: RandloraConfig,
  parameters: readonly RandloraParameters[],
  base: BaseModel,
  shift: PathShift,
): RandloraLayer[] {
  return parameters.map((tensors) => {
    const layer = adaptedLayer(tensors.module, adapter, base, shift, config.fanInFanOut);
    const cols = Math.min(layer.out, layer.in);
    const [n = 0, m = 0] = tensors.gamma.shape;
    if (m !== cols) {
      const ours = `${quote(tensors.gamma.name)} has shape [${n}, ${m}]`;
      const theirs = `${quote(layer.source)} of ${oneLine(base.path)} has [${layer.shape.join(", ")}]`;
      const hint = `γ must have ${cols} columns: the adapter was made for another model`;
      throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${ours}, but ${theirs}`, hint);
    }
    return { ...tensors, ...layer, rows: Math.max(layer.out, layer.in), cols, bases: n };
  });
}

/** λ (r, n) and γ (n, m), row-major. Throws `RandloraError` "numeric" naming the tensor that holds NaN or infinity. */
export async function readParameters(
  adapter: Adapter,
  { lambda, gamma }: RandloraParameters,
): Promise<{ lambda: Float32Array<ArrayBuffer>; gamma: Float32Array<ArrayBuffer> }> {
  return { lambda: await readValues(adapter, lambda), gamma: await readValues(adapter, gamma) };
}
