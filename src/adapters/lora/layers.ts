import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { BaseModel, PathShift } from "../base/base.ts";
import { type AdaptedLayer, adaptedLayer } from "../base/layers.ts";
import type { Adapter, AdapterTensor } from "../adapter.ts";
import { requireFloats } from "../files/values.ts";
import { type MagnitudeName, moduleOfMagnitude } from "../delta/magnitude/vectors.ts";
import { type LoraConfig, rankAndScale } from "./config.ts";

const A = ".lora_A.weight";
const B = ".lora_B.weight";
/** What DoRA adds to a module. */
export const MAGNITUDE: MagnitudeName = "lora_magnitude_vector";

/** The trained tensors of one module. */
export interface LoraFactors {
  /** The module's dotted path, as the adapter names it. */
  readonly module: string;
  readonly rank: number;
  /** α/r, or α/√r. */
  readonly scale: number;
  /** A (r, in). */
  readonly a: AdapterTensor;
  /** B (out, r). */
  readonly b: AdapterTensor;
}

/** One adapted weight: ΔW = scale · B·A. */
export interface LoraLayer extends LoraFactors, AdaptedLayer {}

/** Is this tensor one of LoRA's factors, by its name? */
function isFactor(name: string): boolean {
  return name.endsWith(A) || name.endsWith(B);
}

/** Is this tensor LoRA's, or DoRA's where it is one, by its name? */
export function isOwn(name: string, { dora }: LoraConfig): boolean {
  return isFactor(name) || (dora && moduleOfMagnitude(name, MAGNITUDE) !== undefined);
}

/**
 * The factors of an adapter, module by module in the order of the file, with the rank that its settings say.
 * Throws `RandloraError` "adapter" or "format" when one is missing or does not fit.
 */
export function loraFactors(adapter: Adapter, config: LoraConfig): LoraFactors[] {
  const found: LoraFactors[] = [];
  for (const [name, tensor] of adapter.tensors) {
    if (!isOwn(name, config)) refuseOther(adapter, name);
    if (!isFactor(name)) continue;
    const [own, other] = name.endsWith(A) ? [A, B] : [B, A];
    const module = name.slice(0, -own.length);
    const pair = adapter.tensors.get(module + other);
    if (pair === undefined) {
      const cause = `${quote(name)} has no ${other.slice(1)} beside it`;
      throw new RandloraError("format", `${oneLine(adapter.file)}: ${cause}`, "the file is incomplete: save it again");
    }
    if (own === B) continue;
    const factors = { module, ...rankAndScale(config, module), a: tensor, b: pair };
    checkShapes(adapter, factors);
    found.push(factors);
  }
  if (found.length > 0) return found;
  const cause = `no ${A.slice(1)} of any module`;
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, "this is no LoRA of linear layers");
}

/** Tensors of LoRA's variants, in case the settings say nothing of them. */
const OTHERS: readonly (readonly [ending: RegExp, what: string])[] = [
  [/\.lora_embedding_[AB](?:\.weight)?$/, "adapts an embedding"],
  [/\.lora_magnitude_vector(?:\.weight)?$/, "is DoRA's"],
  [/\.lora_[AB]\.bias$/, "is a bias of LoRA's own"],
  [/\.lora_diag$/, "is KaSA's"],
];

function refuseOther(adapter: Adapter, name: string): void {
  const other = OTHERS.find(([ending]) => ending.test(name));
  if (other === undefined) return;
  const cause = `tensor ${quote(name)} ${other[1]}, which is not supported`;
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, "merge it with PEFT: merge_and_unload()");
}

function checkShapes(adapter: Adapter, { a, b, rank }: LoraFactors): void {
  const refuse = (tensor: AdapterTensor, cause: string, hint: string) => {
    const shape = `tensor ${quote(tensor.name)} has shape [${tensor.shape.join(", ")}]`;
    throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${shape}, ${cause}`, hint);
  };
  for (const tensor of [a, b]) {
    if (tensor.shape.length > 2) refuse(tensor, "not a matrix", "only linear layers can be adapted, no convolutions");
    if (tensor.shape.length < 2 || tensor.shape.includes(0)) {
      refuse(tensor, "not a matrix", "a sharded adapter must be gathered before it is saved");
    }
    const found = tensor.shape[tensor === a ? 0 : 1];
    if (found !== rank) {
      const cause = `but its rank is ${rank} in ${oneLine(adapter.configFile)}`;
      refuse(tensor, cause, "A is (r, in) and B (out, r); rank_pattern names exceptions");
    }
    requireFloats(adapter, tensor);
  }
}

/** Joins factors and the base's weights. Throws `RandloraError` "adapter" naming both where they do not fit. */
export function loraLayers(
  adapter: Adapter,
  config: LoraConfig,
  factors: readonly LoraFactors[],
  base: BaseModel,
  shift: PathShift,
): LoraLayer[] {
  return factors.map((factor) => {
    const layer = adaptedLayer(factor.module, adapter, base, shift, config.fanInFanOut);
    const { a, b } = factor;
    if (b.shape[0] === layer.out && a.shape[1] === layer.in) return { ...factor, ...layer };
    const ours = `${quote(a.name)} and lora_B have shapes [${a.shape.join(", ")}] and [${b.shape.join(", ")}]`;
    const theirs = `${quote(layer.source)} of ${oneLine(base.path)} has [${layer.shape.join(", ")}]`;
    const hint = "the adapter was made for another model";
    throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${ours}, but ${theirs}`, hint);
  });
}
