import { RandloraError } from "../errors.ts";
import { oneLine } from "../files/failure.ts";
import type { Checkpoint } from "../safetensors/checkpoint.ts";
import type { Shape } from "../tensor/tensor.ts";
import type { DecoderConfig } from "./config.ts";

/** Rows of one matrix on the GPU that come from one tensor of the checkpoint. */
export interface PlannedPart {
  readonly name: string;
  readonly rows: number;
}

/**
 * A matrix on the GPU: one tensor of the checkpoint, or several of equal width one below the other, so that one
 * product serves q, k and v. Vectors (norms, biases) have one row and are held in F32.
 */
export interface PlannedMatrix {
  readonly kind: "matrix" | "vector";
  readonly cols: number;
  readonly parts: readonly PlannedPart[];
}

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
    embedding: matrix(hiddenSize, ["model.embed_tokens.weight", vocabularySize]),
    layers: config.layers.map((_, layer) => planLayer(config, `model.layers.${layer}`)),
    norm: vector(["model.norm.weight", hiddenSize]),
    head: config.tied ? undefined : matrix(hiddenSize, ["lm_head.weight", vocabularySize]),
  };
}

function planLayer(config: DecoderConfig, prefix: string): PlannedLayer {
  const { hiddenSize, intermediateSize, heads, kvHeads, headSize, postNorms } = config;
  const [q, kv] = [heads * headSize, kvHeads * headSize];
  const attention = `${prefix}.self_attn`;
  const mlp = `${prefix}.mlp`;
  const norm = (name: string, size = hiddenSize) => vector([`${prefix}.${name}.weight`, size]);
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
  const weights = (cols: number, parts: readonly Part[]) => matrix(cols, ...named(parts, "weight"));
  const biases = (there: boolean, parts: readonly Part[]) => (there ? vector(...named(parts, "bias")) : undefined);
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

type Part = readonly [name: string, rows: number];

function named(parts: readonly Part[], suffix: string): Part[] {
  return parts.map(([name, rows]) => [`${name}.${suffix}`, rows]);
}

function matrix(cols: number, ...parts: readonly Part[]): PlannedMatrix {
  return { kind: "matrix", cols, parts: parts.map(([name, rows]) => ({ name, rows })) };
}

function vector(...parts: readonly Part[]): PlannedMatrix {
  const cols = parts.reduce((sum, [, size]) => sum + size, 0);
  return { kind: "vector", cols, parts: parts.map(([name, rows]) => ({ name, rows })) };
}

/** The names of its parts: one no other matrix has. */
export function matrixLabel({ parts }: PlannedMatrix): string {
  return parts.map(({ name }) => name).join(" + ");
}

/** Rows and columns. */
export function matrixShape({ kind, cols, parts }: PlannedMatrix): Shape {
  return [kind === "vector" ? 1 : parts.reduce((sum, part) => sum + part.rows, 0), cols];
}

/** Every matrix of the plan. */
export function plannedMatrices({ embedding, layers, norm, head }: WeightPlan): PlannedMatrix[] {
  const all = [embedding, ...layers.flatMap((layer) => Object.values<PlannedMatrix | undefined>(layer)), norm, head];
  return all.filter((planned): planned is PlannedMatrix => planned !== undefined);
}

/** Tensors that checkpoints carry and nobody needs: tables that are computed, and the copy that a tied head is. */
function isSuperfluous(name: string, { tied }: DecoderConfig): boolean {
  return name.endsWith(".rotary_emb.inv_freq") || (tied && name === "lm_head.weight");
}

/**
 * Does the checkpoint hold exactly these tensors, in these shapes and in floating types that can be widened?
 * @throws RandloraError `model` naming what is missing, left over or of another shape
 */
export function checkPlan(plan: WeightPlan, checkpoint: Checkpoint, config: DecoderConfig): void {
  const missing: string[] = [];
  const planned = new Set<string>();
  for (const { kind, cols, parts } of plannedMatrices(plan)) {
    for (const { name, rows } of parts) {
      planned.add(name);
      const tensor = checkpoint.tensors.get(name);
      if (tensor === undefined) {
        missing.push(name);
        continue;
      }
      const { shape, dtype } = tensor.info;
      const wanted = kind === "vector" ? [rows] : [rows, cols];
      if (shape.length !== wanted.length || shape.some((size, axis) => size !== wanted[axis])) {
        const shapes = `its shape is [${shape.join(", ")}], by config.json it is [${wanted.join(", ")}]`;
        throw new RandloraError(
          "model",
          `${oneLine(tensor.file.path)}: ${name}: ${shapes}`,
          "do both belong to one model?",
        );
      }
      if (!["F64", "F32", "F16", "BF16"].includes(dtype)) {
        const hint = "use the model's original checkpoint, in f32, f16 or bf16";
        throw new RandloraError(
          "model",
          `${oneLine(tensor.file.path)}: ${name}: weights in ${dtype} cannot be run`,
          hint,
        );
      }
    }
  }
  if (missing.length > 0) {
    const hint = "the checkpoint is incomplete, or config.json is another model's";
    throw new RandloraError("model", `${checkpoint.folder}: missing weights: ${some(missing)}`, hint);
  }
  const left = [...checkpoint.tensors.keys()].filter((name) => !planned.has(name) && !isSuperfluous(name, config));
  if (left.length > 0) {
    const what = `weights that a ${config.architecture} model of this config.json does not have: ${some(left)}`;
    throw new RandloraError("model", `${checkpoint.folder}: ${what}`, "running without them would be another model");
  }
}

function some(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(", ");
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown;
}
