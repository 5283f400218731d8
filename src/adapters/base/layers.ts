import { RandloraError } from "../../files/errors.ts";
import { isFloat, isWritableFloat } from "../../files/safetensors/dtype.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { isPacked, UNQUANTIZED } from "../../models/decoder/config-file.ts";
import { type BaseModel, isConv1d, modelTypeOf } from "./base.ts";
import { type BaseWeight, findWeight, type PathShift } from "./module-paths.ts";
import { defaultTargets, targetMatcher, type TargetRules } from "./targets.ts";
import type { Adapter } from "../files/adapter.ts";

/** One adapted weight: ΔW is (out, in), or (in, out) where `conv1d`. */
export interface AdaptedLayer extends BaseWeight {
  /** The module's dotted path, as the adapter names it. */
  readonly module: string;
  readonly out: number;
  readonly in: number;
  /** The weight is stored (in, out), so ΔW is transposed before it is added. */
  readonly conv1d: boolean;
}

/** Throws `RandloraError` "adapter" for a base whose config.json says that it is quantized, otherwise than packed.ts reads. */
export function requireUnquantized(base: BaseModel): void {
  const settings = base.config?.["quantization_config"];
  if (settings === undefined || settings === null || isPacked(base.config ?? {})) return;
  const cause = "the base is quantized (config.json has quantization_config)";
  throw new RandloraError("adapter", `${oneLine(base.path)}: ${cause}`, UNQUANTIZED);
}

/**
 * Refuses an adapter that holds a module which its own settings do not mean: PEFT would leave it out, or raise "Target
 * modules not found". Settings that name none, on a model of no known type, say nothing.
 * Throws `RandloraError` "adapter", also for an expression that cannot be read.
 */
export function requireTargeted(
  adapter: Adapter,
  targets: TargetRules,
  modules: readonly string[],
  base: BaseModel,
): void {
  const modelType = modelTypeOf(base);
  if (targets.modules === null && defaultTargets(modelType ?? "") === undefined) return;
  const matches = targetMatcher(targets, modelType);
  const stray = modules.filter((module) => !matches(module));
  const [first] = stray;
  if (first === undefined) return;
  const cause =
    stray.length < modules.length
      ? `it holds ${quote(first)}, which target_modules does not match`
      : `target_modules matches none of its modules, such as ${quote(first)}`;
  const hint = "its settings and its weights do not belong together: take both from one save";
  throw new RandloraError("adapter", `${oneLine(adapter.path)}: ${cause}`, hint);
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
    const cause = `tensor ${quote(weight.source)} is ${weight.dtype}: quantized weights cannot be adapted`;
    throw new RandloraError("adapter", `${oneLine(base.path)}: ${cause}`, "use the original, unquantized model");
  }
  const conv1d = isConv1d(weight.tensor.replace(/\.weight$/, ""), base, fanInFanOut);
  const [first = 0, second = 0] = weight.shape;
  const [out, input] = conv1d ? [second, first] : [first, second];
  return { ...weight, module, out, in: input, conv1d };
}

/** The layer that a module's or a tensor's name says. */
export function layerOf(name: string): number | undefined {
  const [, index] = /(?:^|\.)(\d{1,9})(?:\.|$)/.exec(name) ?? [];
  return index === undefined ? undefined : Number(index);
}
