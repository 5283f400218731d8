import type { Attention, Heads } from "../../blocks/attention.ts";
import type { RmsNorm } from "../../blocks/norm.ts";
import { type PlannedMatrix, plannedVector } from "../../tensor-plan.ts";
import { biases, type Module, output, type Sizes, weights } from "./modules.ts";

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
