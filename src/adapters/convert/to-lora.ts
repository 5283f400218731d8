import type { JsonObject } from "../../files/lossless-json.ts";
import type { Adapter, AdapterContent, AdapterTensor } from "../files/adapter.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { isEmbedding, isOutputEmbedding } from "../base/base.ts";
import type { AdaptedLayer } from "../base/targets.ts";
import { memoryTensor } from "../files/tensors.ts";
import { takeSteps, type Steps } from "../frozen/drawing/bases.ts";
import { LORA_TENSORS, patternPath, plainLoraKeys } from "../lora/config.ts";
import type { OpenDeltas } from "../merge/in-memory/deltas.ts";
import { newConfig } from "../method/train.ts";
import { eigenpairSteps, eigenpairWork } from "../svd/eigenvectors.ts";
import { type Dense, gramSteps } from "../svd/eigenvalues.ts";
import { combined, RANK_TOLERANCE } from "../svd/singular-values.ts";

/** What a LoRA keeps of one ΔW (out, in), or of all together. */
export interface KeptShare {
  /** ‖ΔW‖ by Frobenius' norm, and that of what is left out. */
  readonly norm: number;
  readonly error: number;
  /** The part of ‖ΔW‖² that is kept; 1 where ΔW is zero. */
  readonly energy: number;
}

export interface KeptModule extends KeptShare {
  readonly module: string;
  /** Of the factors as they are written. */
  readonly rank: number;
}

/** A LoRA in the place of an adapter, and how near it is. */
export interface LoraOfDeltas {
  readonly content: AdapterContent;
  readonly modules: readonly KeptModule[];
  readonly all: KeptShare;
}

/** Told how far it is; `work` of {@link loraWork}. */
export interface LoraObserver {
  module(name: string): void;
  work(operations: number): void;
}

/** Operations that it takes at most, about. */
export function loraWork({ chosen, layer }: OpenDeltas, kept: Kept): number {
  return chosen.reduce((sum, index) => sum + bestFactorsWork(layer(index).out, layer(index).in, kept), 0);
}

/**
 * A LoRA whose B·A is as near to each ΔW as its rank permits: by singular values, half of each in either factor. All scales are 1, which
 * programs that know of no patterns assume, too. What the adapter replaces whole (heads, biases) it has as well.
 * @throws RandloraError as `OpenDeltas.form`; the signal's reason when it is aborted
 */
export async function loraOfDeltas(
  deltas: OpenDeltas,
  kept: Kept,
  observer: LoraObserver,
  signal?: AbortSignal,
): Promise<LoraOfDeltas> {
  const modules: KeptModule[] = [];
  const tensors: AdapterTensor[] = [];
  const sums = { squares: 0, leftOut: 0 };
  for (const index of deltas.chosen) {
    signal?.throwIfAborted();
    const layer = deltas.layer(index);
    observer.module(layer.module);
    let left = bestFactorsWork(layer.out, layer.in, kept);
    const onWork = (operations: number): void => {
      const some = Math.min(left, operations);
      left -= some;
      observer.work(some);
    };
    const factors = await takeSteps(bestFactorSteps(await deltas.form(index), kept, onWork), signal);
    onWork(left);
    const rank = writtenRank(layer, kept, factors);
    modules.push({ module: layer.module, rank, ...shareOf(factors) });
    tensors.push(...factorTensors(layer, rank, factors));
    sums.squares += factors.squares;
    sums.leftOut += factors.leftOut;
  }
  const { adapter, replacements } = deltas.plan;
  tensors.push(...new Set(replacements.map(({ from }) => from)));
  const content = {
    config: configOf(adapter, modules),
    bases: undefined,
    tensors,
    metadata: new Map<string, string>(),
  };
  return { content, modules, all: shareOf(sums) };
}

/** What a LoRA's `target_parameters` say; other methods have none. */
function parametersOf({ settings }: Adapter): readonly string[] {
  const parameters: unknown = settings["target_parameters"];
  return Array.isArray(parameters) ? parameters.filter((name) => typeof name === "string") : [];
}

/** How PEFT's names of factors end that all experts of a layer have together; see `factorPrefixes`. */
const OF_ALL_EXPERTS = /\.experts(?:\.base_layer)*\.lora_A\.weight$/;

/** Throws `RandloraError` "adapter" for such factors, whatever base they are for. */
export function refuseAllExperts({ tensors, path }: Adapter): void {
  const name = [...tensors.keys()].find((one) => OF_ALL_EXPERTS.test(one));
  if (name === undefined) return;
  const cause = `${quote(name)} is of all experts of a layer, and a LoRA of all experts together is not made yet`;
  throw new RandloraError("adapter", `${oneLine(path)}: ${cause}`, "merge it, or use it as it is");
}

/** Does it hold tensors that no ΔW is made of, and which only a base explains? */
export function replacesModules({ settings, tensors }: Adapter): boolean {
  const { bias, modules_to_save: saved } = settings;
  if ((typeof bias === "string" && bias !== "none") || (Array.isArray(saved) && saved.length > 0)) return true;
  return [...tensors.keys()].some((name) => {
    const module = name.slice(0, name.lastIndexOf("."));
    return isEmbedding(module) || isOutputEmbedding(module);
  });
}

function shareOf({ squares, leftOut }: Pick<BestFactors, "squares" | "leftOut">): KeptShare {
  return {
    norm: Math.sqrt(squares),
    error: Math.sqrt(leftOut),
    energy: squares === 0 ? 1 : 1 - leftOut / squares,
  };
}

/** A rank that was asked for is that of all modules which can have it, zeros or not; there is no rank 0. */
function writtenRank({ out, in: input }: AdaptedLayer, { rank, energy }: Kept, { left }: BestFactors): number {
  if (rank !== undefined && energy === undefined) return Math.min(rank, out, input);
  return Math.max(1, left.length);
}

function factorTensors(layer: AdaptedLayer, rank: number, { left, right }: BestFactors): AdapterTensor[] {
  const { module, out, in: input, conv1d } = layer;
  // ΔW has the rows of the weight as it is stored.
  const [ofA, ofB] = conv1d ? [left, right] : [right, left];
  const a = new Float32Array(rank * input);
  const b = new Float32Array(out * rank);
  for (const [k, vector] of ofA.entries()) a.set(vector, k * input);
  for (const [k, vector] of ofB.entries()) vector.forEach((value, row) => (b[row * rank + k] = value));
  const { names } = LORA_TENSORS;
  return [
    memoryTensor(`${module}.${names.a}`, "F32", [rank, input], new Uint8Array(a.buffer)),
    memoryTensor(`${module}.${names.b}`, "F32", [out, rank], new Uint8Array(b.buffer)),
  ];
}

/** Keys that mean the same for every method. */
const COMMON = [
  "ensure_weight_tying",
  "fan_in_fan_out",
  "layers_pattern",
  "modules_to_save",
  "revision",
  "task_type",
] as const;
const TARGETS = ["target_modules", "exclude_modules", "layers_to_transform"] as const;

function configOf(adapter: Adapter, modules: readonly KeptModule[]): JsonObject {
  const { config } = adapter;
  const { base_model_name_or_path: base = null, bias = "none", target_modules: targets = null } = config;
  const parameters = parametersOf(adapter);
  const paths = modules.map(({ module, rank }) => ({ module, rank, path: patternPath(parameters, module) }));
  const r = Math.max(...modules.map(({ rank }) => rank));
  // The first pattern that matches the end of a path holds: a path that another one ends with comes after it.
  const others = paths.filter(({ rank }) => rank !== r).toSorted((a, b) => b.path.length - a.path.length);
  const ranks = Object.fromEntries(others.map(({ path, rank }) => [path, rank]));
  const found = (keys: readonly string[]): JsonObject =>
    Object.fromEntries(keys.flatMap((key) => (config[key] === undefined ? [] : [[key, config[key]]])));
  // Routers, which PEFT adapts as parameters.
  const weights = paths.filter(({ module, path }) => path !== module).map(({ path }) => path);
  const names = paths.filter(({ module, path }) => path === module).map(({ module }) => module);
  return newConfig(
    "",
    {
      config: {
        target_modules: names,
        layers_to_transform: null,
        ...(weights.length === 0 ? {} : { target_parameters: weights }),
      },
    },
    {
      ...found(COMMON),
      ...(targets === null ? {} : found(TARGETS)),
      ...plainLoraKeys({
        r,
        lora_alpha: r,
        bias: bias === "none" || bias === "all" ? bias : "lora_only",
        rank_pattern: ranks,
        alpha_pattern: ranks,
      }),
      base_model_name_or_path: base,
    },
  );
}

/** How much of a matrix is kept: at most so many directions, and no more than keep this part of Σ s². */
export interface Kept {
  /** Undefined: as many as `energy` asks for. */
  readonly rank: number | undefined;
  /** From 0 (excluded) to 1; undefined: all. */
  readonly energy: number | undefined;
}

/** A matrix (rows, cols) is about Σ leftₖ·rightₖᵀ, as near as so many products can be (Eckart and Young). */
export interface BestFactors {
  /** Of `rows` and `cols` elements each; both of a pair are √s long. */
  readonly left: readonly Float64Array[];
  readonly right: readonly Float64Array[];
  /** Σ s² of all directions, and of those that were left out. */
  readonly squares: number;
  readonly leftOut: number;
}

/**
 * The best product of two low matrices. One of them is orthonormal eigenvectors Q of A·Aᵀ (or Aᵀ·A, where that is smaller),
 * the other Qᵀ·A, so that their product is A on the span of Q to the rounding of f64, though eigenvalues have half of the
 * digits. Singular values below {@link RANK_TOLERANCE} of the largest are rounding of A's elements, and left out.
 *
 * @param onWork told of operations done, in all `bestFactorsWork`
 * @throws RangeError for a matrix that is not finite
 */
export function* bestFactorSteps(
  matrix: Dense,
  kept: Kept,
  onWork: (operations: number) => void = () => {},
): Steps<BestFactors> {
  const { rows, cols } = matrix;
  const isWide = rows <= cols;
  let rank = 0;
  const gram = yield* gramSteps(matrix, onWork);
  const { values, vectors } = yield* eigenpairSteps(gram, (squares) => (rank = rankOf(squares, kept)), onWork);
  const others: Float64Array[] = [];
  for (const vector of vectors) {
    others.push(combined(matrix, vector));
    onWork(rows * cols);
    yield;
  }
  for (const [k, other] of others.entries()) {
    const length = Math.sqrt(other.reduce((sum, value) => sum + value * value, 0));
    const root = Math.sqrt(length);
    if (length > 0) scale(other, 1 / root);
    scale(vectors[k] ?? other, root);
  }
  const squares = values.reduce((sum, value) => sum + Math.max(0, value), 0);
  const leftOut = values.subarray(rank).reduce((sum, value) => sum + Math.max(0, value), 0);
  return { left: isWide ? vectors : others, right: isWide ? others : vectors, squares, leftOut };
}

/** Operations that it takes at most, about. */
export function bestFactorsWork(rows: number, cols: number, { rank = Infinity }: Kept): number {
  const size = Math.min(rows, cols);
  const vectors = Math.min(size, rank);
  return size * rows * cols + eigenpairWork(size, vectors) + rows * cols * vectors;
}

/** How many of the directions with these s², the largest first, are kept. */
function rankOf(squares: Float64Array, { rank = Infinity, energy = 1 }: Kept): number {
  const total = squares.reduce((sum, square) => sum + Math.max(0, square), 0);
  const least = RANK_TOLERANCE ** 2 * (squares[0] ?? 0);
  let count = 0;
  let sum = 0;
  for (const square of squares) {
    if (count >= rank || !(square > least) || sum >= energy * total) break;
    sum += square;
    count++;
  }
  return count;
}

function scale(vector: Float64Array, factor: number): void {
  for (let i = 0; i < vector.length; i++) vector[i] = (vector[i] as number) * factor;
}
