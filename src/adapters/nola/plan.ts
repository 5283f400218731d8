import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { type BaseModel, findShift } from "../base/base.ts";
import { type AdaptedLayer, adaptedLayer, requireTargeted, requireUnquantized } from "../base/layers.ts";
import { findReplacements, type Replacement } from "../base/replacements.ts";
import type { Adapter, AdapterTensor } from "../adapter.ts";
import { requireFloats } from "../files/values.ts";
import { type NolaConfig, nolaConfig } from "./config.ts";
import type { NolaDraws } from "./draws.ts";
import { drawsOf } from "./record.ts";

const A = ".nola_coefficients_A";
const B = ".nola_coefficients_B";

/** The coefficients' names. */
export function coefficientNames(module: string): { readonly a: string; readonly b: string } {
  return { a: module + A, b: module + B };
}

/** One adapted weight: ΔW = scale · B·A, both factors from k coefficients. */
export interface NolaLayer extends AdaptedLayer {
  /** c (k). */
  readonly a: AdapterTensor;
  /** d (k). */
  readonly b: AdapterTensor;
}

/** Everything that applying a NoLA adapter to a base takes, checked; no tensor has been read yet. */
export interface NolaPlan {
  readonly adapter: Adapter;
  readonly config: NolaConfig;
  /** alpha / r. */
  readonly scale: number;
  readonly draws: NolaDraws;
  readonly layers: readonly NolaLayer[];
  readonly replacements: readonly Replacement[];
}

/**
 * Fits a NoLA adapter to a base. Throws `RandloraError` "adapter" with the reason when it cannot be applied, "format" for
 * a file that is incomplete.
 */
export function planNola(adapter: Adapter, base: BaseModel): NolaPlan {
  requireUnquantized(base);
  const config = nolaConfig(adapter);
  const draws = drawsOf(adapter, config);
  const coefficients = coefficientsOf(adapter, config);
  const modules = coefficients.map(({ module }) => module);
  requireTargeted(adapter, config.targets, modules, base);
  const shift = findShift(modules, base, adapter.path);
  const layers = coefficients.map((own) => {
    const layer = adaptedLayer(own.module, adapter, base, shift, config.fanInFanOut);
    if (layer.in <= draws.maxIn && layer.out <= draws.maxOut) return { ...own, ...layer };
    const theirs = `${quote(layer.source)} of ${oneLine(base.path)} has [${layer.shape.join(", ")}]`;
    const cause = `${theirs}, but the factors were drawn for ${draws.maxOut} × ${draws.maxIn} at most`;
    throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, "the adapter was made for another model");
  });
  const rules = {
    isOwn: (name: string) => name.endsWith(A) || name.endsWith(B),
    modules: new Set(modules),
    modulesToSave: config.modulesToSave,
    bias: config.bias !== "none",
  };
  const replacements = findReplacements(adapter, rules, base, shift);
  return { adapter, config, scale: config.alpha / config.r, draws, layers, replacements };
}

/** The coefficients module by module, in the order of the file. */
function coefficientsOf(adapter: Adapter, { bases }: NolaConfig): Pick<NolaLayer, "module" | "a" | "b">[] {
  const found: Pick<NolaLayer, "module" | "a" | "b">[] = [];
  for (const name of adapter.tensors.keys()) {
    if (!name.endsWith(A) && !name.endsWith(B)) continue;
    const module = name.slice(0, -A.length);
    const { a, b } = pairOf(adapter, module);
    for (const tensor of [a, b]) checkCoefficients(adapter, tensor, bases);
    if (name.endsWith(A)) found.push({ module, a, b });
  }
  if (found.length > 0) return found;
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: no ${A.slice(1)} of any module`, "this is no NoLA");
}

function pairOf(adapter: Adapter, module: string): { a: AdapterTensor; b: AdapterTensor } {
  const names = coefficientNames(module);
  const [a, b] = [adapter.tensors.get(names.a), adapter.tensors.get(names.b)];
  if (a !== undefined && b !== undefined) return { a, b };
  const [there, missing] = a === undefined ? [names.b, A] : [names.a, B];
  const cause = `${quote(there)} has no ${missing.slice(1)} beside it`;
  throw new RandloraError("format", `${oneLine(adapter.file)}: ${cause}`, "the file is incomplete: save it again");
}

function checkCoefficients(adapter: Adapter, tensor: AdapterTensor, bases: number): void {
  requireFloats(adapter, tensor);
  const { name, shape } = tensor;
  if (shape.length === 1 && shape[0] === bases) return;
  const cause = `tensor ${quote(name)} has shape [${shape.join(", ")}], but num_bases is ${bases}`;
  const hint = `one number a basis: its shape is [${bases}] in an adapter of ${oneLine(adapter.configFile)}`;
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, hint);
}
