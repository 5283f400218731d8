import { RandloraError } from "../errors.ts";
import { isFloat, isWritableFloat } from "../safetensors/dtype.ts";
import { oneLine, quote } from "../safetensors/failure.ts";
import { type BaseModel, type BaseWeight, findWeight, isConv1d, type PathShift } from "./base.ts";
import type { Adapter } from "./types.ts";

/** One adapted weight: ΔW is (out, in), or (in, out) where `conv1d`. */
export interface AdaptedLayer extends BaseWeight {
  /** The module's dotted path, as the adapter names it. */
  readonly module: string;
  readonly out: number;
  readonly in: number;
  /** The weight is stored (in, out), so ΔW is transposed before it is added. */
  readonly conv1d: boolean;
}

/** Throws `RandloraError` "adapter" for a base whose config.json says that it is quantised. */
export function requireUnquantised(base: BaseModel): void {
  const settings = base.config?.["quantization_config"];
  if (settings === undefined || settings === null) return;
  const cause = "the base is quantised (config.json has quantization_config)";
  throw new RandloraError("adapter", `${oneLine(base.path)}: ${cause}`, "use the original, unquantised model");
}

/** Finds the weight of an adapted module. Throws `RandloraError` "adapter" when it is missing, or no matrix of floats. */
export function adaptedLayer(
  module: string,
  adapter: Adapter,
  base: BaseModel,
  shift: PathShift,
  fanInFanOut: boolean,
): AdaptedLayer {
  const weight = findWeight(module, shift, base, adapter.path);
  if (!isFloat(weight.dtype) || !isWritableFloat(weight.dtype)) {
    const cause = `tensor ${quote(weight.source)} is ${weight.dtype}: quantised weights cannot be adapted`;
    throw new RandloraError("adapter", `${oneLine(base.path)}: ${cause}`, "use the original, unquantised model");
  }
  const conv1d = isConv1d(module, base, fanInFanOut);
  const [first = 0, second = 0] = weight.shape;
  const [out, input] = conv1d ? [second, first] : [first, second];
  return { ...weight, module, out, in: input, conv1d };
}
