import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import type { DecoderConfig } from "./config.ts";
import {
  checkTensors,
  type PlannedMatrix,
  plannedLinear,
  plannedMatrix,
  plannedVector,
  type Stored,
} from "../tensor-plan.ts";

/** The matrices of a layer, by their roles. */
export type PlannedLayer = {
  readonly inputNorm: PlannedMatrix;
  readonly qkv: PlannedMatrix;
  readonly qkvBias: PlannedMatrix | undefined;
  readonly queryNorm: PlannedMatrix | undefined;
  readonly keyNorm: PlannedMatrix | undefined;
  readonly output: PlannedMatrix;
  readonly outputBias: PlannedMatrix | undefined;
  readonly attentionNorm: PlannedMatrix | undefined;
  readonly mlpNorm: PlannedMatrix;
  /** Gate and up, one below the other, so that one product serves both; gate alone where `up` stands apart. */
  readonly gateUp: PlannedMatrix;
  readonly gateUpBias: PlannedMatrix | undefined;
  /** Where sizes are no multiple of 4: columns of a joined product could not be looked at apart. */
  readonly up: PlannedMatrix | undefined;
  readonly upBias: PlannedMatrix | undefined;
  readonly down: PlannedMatrix;
  readonly downBias: PlannedMatrix | undefined;
  readonly outNorm: PlannedMatrix | undefined;
};

/** Everything that a decoder reads from its checkpoint. */
export interface WeightPlan {
  readonly embedding: PlannedMatrix;
  readonly layers: readonly PlannedLayer[];
  readonly norm: PlannedMatrix;
  /** Undefined when the embedding is the output matrix as well. */
  readonly head: PlannedMatrix | undefined;
}

/** Names and shapes of a decoder's tensors, as transformers saves them. */
export function planWeights(config: DecoderConfig): WeightPlan {
  const { hiddenSize, vocabularySize } = config;
  return {
    embedding: plannedMatrix(hiddenSize, ["model.embed_tokens.weight", [vocabularySize, hiddenSize]]),
    layers: config.layers.map((_, layer) => planLayer(config, `model.layers.${layer}`)),
    norm: plannedVector(["model.norm.weight", [hiddenSize]]),
    head: config.tied ? undefined : plannedMatrix(hiddenSize, ["lm_head.weight", [vocabularySize, hiddenSize]]),
  };
}

function planLayer(config: DecoderConfig, prefix: string): PlannedLayer {
  const { hiddenSize, intermediateSize, heads, kvHeads, headSize, postNorms } = config;
  const [q, kv] = [heads * headSize, kvHeads * headSize];
  const attention = `${prefix}.self_attn`;
  const mlp = `${prefix}.mlp`;
  const norm = (name: string, size = hiddenSize) => plannedVector([`${prefix}.${name}.weight`, [size]]);
  const qkvParts: readonly Part[] = config.fused
    ? [[`${attention}.qkv_proj`, q + 2 * kv]]
    : [
        [`${attention}.q_proj`, q],
        [`${attention}.k_proj`, kv],
        [`${attention}.v_proj`, kv],
      ];
  const gate: Part = [`${mlp}.gate_proj`, intermediateSize];
  const up: Part = [`${mlp}.up_proj`, intermediateSize];
  const apart = intermediateSize % 4 !== 0 && !config.fused;
  const joined = apart ? [gate] : [gate, up];
  const gateUpParts: readonly Part[] = config.fused ? [[`${mlp}.gate_up_proj`, 2 * intermediateSize]] : joined;
  const weights = (cols: number, parts: readonly Part[]) =>
    plannedLinear(cols, ...parts.map(([name, rows]): Stored => [`${name}.weight`, [rows, cols]]));
  const biases = (there: boolean, parts: readonly Part[]) =>
    there ? plannedVector(...parts.map(([name, rows]): Stored => [`${name}.bias`, [rows]])) : undefined;
  const outputParts: readonly Part[] = [[`${attention}.o_proj`, hiddenSize]];
  const downParts: readonly Part[] = [[`${mlp}.down_proj`, hiddenSize]];
  return {
    inputNorm: norm("input_layernorm"),
    qkv: weights(hiddenSize, qkvParts),
    qkvBias: biases(config.qkvBias, qkvParts),
    queryNorm: config.queryKeyNorm ? norm("self_attn.q_norm", headSize) : undefined,
    keyNorm: config.queryKeyNorm ? norm("self_attn.k_norm", headSize) : undefined,
    output: weights(q, outputParts),
    outputBias: biases(config.outputBias, outputParts),
    attentionNorm: postNorms ? norm("post_attention_layernorm") : undefined,
    mlpNorm: norm(postNorms ? "pre_feedforward_layernorm" : "post_attention_layernorm"),
    gateUp: weights(hiddenSize, gateUpParts),
    gateUpBias: biases(config.mlpBias, gateUpParts),
    up: apart ? weights(hiddenSize, [up]) : undefined,
    upBias: biases(apart && config.mlpBias, [up]),
    down: weights(intermediateSize, downParts),
    downBias: biases(config.mlpBias, downParts),
    outNorm: postNorms ? norm("post_feedforward_layernorm") : undefined,
  };
}

/** A module's name and the rows of its matrix. */
type Part = readonly [name: string, rows: number];

/** Every matrix of the plan. */
export function plannedMatrices({ embedding, layers, norm, head }: WeightPlan): PlannedMatrix[] {
  const all = [embedding, ...layers.flatMap((layer) => Object.values<PlannedMatrix | undefined>(layer)), norm, head];
  return all.filter((planned): planned is PlannedMatrix => planned !== undefined);
}

/** Does the checkpoint hold exactly these? @throws RandloraError `model`; see `checkTensors` */
export function checkPlan(plan: WeightPlan, checkpoint: Checkpoint, { architecture, tied }: DecoderConfig): void {
  checkTensors(plannedMatrices(plan), checkpoint, {
    architecture,
    // Tables that are computed, and the copy that a tied head is.
    isSuperfluous: (name) => name.endsWith(".rotary_emb.inv_freq") || (tied && name === "lm_head.weight"),
  });
}
