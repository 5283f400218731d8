// The parts that architectures are written with: what they compute, and what transformers calls their weights.
import type { Activation } from "../../compute/tensor/elementwise.ts";
import { constantVector, plannedLinear, type PlannedMatrix, plannedVector, type Stored } from "../tensor-plan.ts";
import type { LayerNorm, RmsNorm } from "../blocks/norm.ts";
import type { Mlp } from "../blocks/mlp.ts";
import type { Attention, Heads } from "../blocks/attention.ts";
import type { Convolution, GatedDelta } from "../blocks/gated-delta.ts";

/** The sizes of a model's parts. */
export interface Sizes {
  readonly hidden: number;
  /** Of the MLP. */
  readonly inner: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  /** Of norms. */
  readonly epsilon: number;
  /** Of the MLP. */
  readonly activation: Activation;
}

/** A module's name and the rows of its matrix. */
export type Module = readonly [name: string, rows: number];

export function weights(cols: number, modules: readonly Module[]): PlannedMatrix {
  return plannedLinear(cols, ...modules.map(([name, rows]): Stored => [`${name}.weight`, [rows, cols]]));
}

export function biases(modules: readonly Module[]): PlannedMatrix {
  return plannedVector(...modules.map(([name, rows]): Stored => [`${name}.bias`, [rows]]));
}

export function output(module: Module, cols: number, bias: boolean) {
  return { weight: weights(cols, [module]), bias: bias ? biases([module]) : undefined };
}

/** A norm by the root of the mean square, over `size` elements. @param offset added to its weights */
export function rmsNorm(name: string, size: number, epsilon: number, offset = 0): RmsNorm<PlannedMatrix> {
  return { kind: "rms", weight: plannedVector([`${name}.weight`, [size]]), epsilon, offset };
}

/** The same of parts of `size` elements, without weights. */
export function plainNorm(size: number, epsilon: number): RmsNorm<PlannedMatrix> {
  return { kind: "rms", weight: constantVector(size, 1), epsilon, offset: 0 };
}

/** A norm by mean and variance, over `size` elements. */
export function layerNorm(name: string, size: number, epsilon: number, bias = true): LayerNorm<PlannedMatrix> {
  const vector = (kind: string) => plannedVector([`${name}.${kind}`, [size]]);
  return { kind: "layer", weight: vector("weight"), bias: bias ? vector("bias") : undefined, epsilon };
}

/** What a gated MLP may have beside its three matrices. */
export interface GatedMlpParts {
  /** Of gate and up: the module of each, or of both together. */
  readonly names?: readonly [gate: string, up: string] | readonly [gateUp: string];
  readonly outputName?: string;
  readonly bias?: boolean;
}

/** An MLP f(gate x) · up x, whose modules are below `path`. */
export function gatedMlp(path: string, sizes: Sizes, parts: GatedMlpParts = {}): Mlp<PlannedMatrix> {
  const { hidden, inner, activation } = sizes;
  const { names = ["gate_proj", "up_proj"], outputName = "down_proj", bias = false } = parts;
  const [first, up] = names.map((name): Module => [`${path}.${name}`, names.length === 1 ? 2 * inner : inner]);
  if (first === undefined) throw new TypeError("an MLP without a gate");
  // Columns of a joined product could not be looked at apart.
  const isApart = up !== undefined && inner % 4 !== 0;
  const joined = up === undefined || isApart ? [first] : [first, up];
  return {
    kind: "mlp",
    activation,
    gateUp: weights(hidden, joined),
    gateUpBias: bias ? biases(joined) : undefined,
    up: isApart ? weights(hidden, [up]) : undefined,
    upBias: isApart && bias ? biases([up]) : undefined,
    output: output([`${path}.${outputName}`, hidden], inner, bias),
  };
}

/** An MLP down f(up x), whose modules are below `path`. */
export function plainMlp(
  path: string,
  { hidden, inner, activation }: Sizes,
  [up, down]: readonly [up: string, down: string],
  bias: boolean,
): Mlp<PlannedMatrix> {
  const modules: readonly Module[] = [[`${path}.${up}`, inner]];
  return {
    kind: "mlp",
    activation,
    gateUp: undefined,
    gateUpBias: undefined,
    up: weights(hidden, modules),
    upBias: bias ? biases(modules) : undefined,
    output: output([`${path}.${down}`, hidden], inner, bias),
  };
}

/** What attention may have beside its four matrices. */
export interface AttentionParts extends Partial<Pick<Heads, "scale" | "softcap" | "window">> {
  /** Which of the model's ropes turns queries and keys: 0, the first, by default. */
  readonly rope?: number;
  readonly neighbors?: boolean;
  /** Of q, k and v: the module of each, or of all of them together; two: values are what keys are made of. */
  readonly names?:
    | readonly [q: string, k: string, v: string]
    | readonly [q: string, k: string]
    | readonly [qkv: string];
  readonly outputName?: string;
  /** It has a module of q alone; see `Attention.keysOf`. */
  readonly keysOf?: number | undefined;
  /** The module of q has a gate's rows behind those of each head. */
  readonly gated?: boolean;
  /** The module of all three has rows of q, k and v head by head. */
  readonly interleaved?: boolean;
  readonly qkvBias?: boolean;
  readonly outputBias?: boolean;
  /** Each head has one: `sinks` below the path. */
  readonly sinks?: boolean;
  /** The name of a norm to that norm. */
  readonly queryNorm?: RmsNorm<PlannedMatrix>;
  readonly keyNorm?: RmsNorm<PlannedMatrix>;
  readonly valueNorm?: RmsNorm<PlannedMatrix>;
}

/** Attention whose modules are below `path`. */
export function attention(path: string, sizes: Sizes, parts: AttentionParts = {}): Attention<PlannedMatrix> {
  const { hidden, heads, kvHeads, headSize } = sizes;
  const { names = ["q_proj", "k_proj", "v_proj"], outputName = "o_proj", qkvBias = false, outputBias = false } = parts;
  const [q, kv] = [heads * headSize, kvHeads * headSize];
  const gated = parts.gated ?? false;
  const queries = gated ? 2 * q : q;
  const rows = names.length === 1 ? [queries + 2 * kv] : [queries, kv, kv];
  const made = parts.keysOf === undefined ? names : names.slice(0, 1);
  const modules = made.map((name, at): Module => [`${path}.${name}`, rows[at] ?? NaN]);
  return {
    kind: "attention",
    heads,
    kvHeads,
    headSize,
    scale: parts.scale ?? 1 / Math.sqrt(headSize),
    softcap: parts.softcap,
    window: parts.window ?? Infinity,
    rope: parts.rope ?? 0,
    neighbors: parts.neighbors ?? false,
    keysOf: parts.keysOf,
    qkv: weights(hidden, modules),
    qkvBias: qkvBias ? biases(modules) : undefined,
    queryNorm: parts.queryNorm,
    keyNorm: parts.keyNorm,
    valueNorm: parts.valueNorm,
    valuesAreKeys: names.length === 2,
    gated,
    interleaved: parts.interleaved ?? false,
    sinks: parts.sinks === true ? plannedVector([`${path}.sinks`, [heads]]) : undefined,
    output: output([`${path}.${outputName}`, hidden], q, outputBias),
  };
}

/** More than any convolution has that is called short. */
export const MOST_TAPS = 256;

/** A convolution over `taps` positions between two gates, whose modules are below `path`. */
export function convolution(path: string, hidden: number, taps: number, bias: boolean): Convolution<PlannedMatrix> {
  const modules: readonly Module[] = [[`${path}.in_proj`, 3 * hidden]];
  return {
    kind: "convolution",
    input: weights(hidden, modules),
    inputBias: bias ? biases(modules) : undefined,
    weight: plannedVector([`${path}.conv.weight`, [hidden, 1, taps]]),
    bias: bias ? biases([[`${path}.conv`, hidden]]) : undefined,
    output: output([`${path}.out_proj`, hidden], hidden, bias),
  };
}

/** The gated delta rule, whose modules are below `path`, and whose projections are those of Qwen 3.5, or Qwen3-Next's two. */
export function gatedDelta(
  path: string,
  { hidden, epsilon, activation }: Sizes,
  sizes: Pick<GatedDelta, "keyHeads" | "keySize" | "heads" | "valueSize" | "taps" | "grouped">,
): GatedDelta<PlannedMatrix> {
  const { keyHeads, keySize, heads, valueSize, taps, grouped } = sizes;
  const [keys, values] = [keyHeads * keySize, heads * valueSize];
  const columns = 2 * keys + values;
  const modules: readonly (readonly [string, number])[] = grouped
    ? [
        ["in_proj_qkvz", columns + values],
        ["in_proj_ba", 2 * heads],
      ]
    : [
        ["in_proj_qkv", columns],
        ["in_proj_z", values],
        ["in_proj_b", heads],
        ["in_proj_a", heads],
      ];
  return {
    kind: "gated-delta",
    ...sizes,
    activation,
    input: {
      ...weights(
        hidden,
        modules.map(([name, rows]): Module => [`${path}.${name}`, rows]),
      ),
      padded: !grouped,
    },
    weight: plannedVector([`${path}.conv1d.weight`, [columns, 1, taps]]),
    decays: plannedVector([`${path}.A_log`, [heads]], [`${path}.dt_bias`, [heads]]),
    norm: rmsNorm(`${path}.norm`, valueSize, epsilon),
    output: output([`${path}.out_proj`, hidden], values, false),
  };
}
