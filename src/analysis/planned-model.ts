import type { BaseModel } from "../adapters/base.ts";
import { isInputEmbedding, isOutputEmbedding } from "../adapters/embeddings.ts";
import type { DecoderConfig } from "../models/config.ts";
import { plannedMatrices, planWeights } from "../models/weight-plan.ts";
import { type Dtype, dtypeBytes } from "../safetensors/dtype.ts";

/** A model of which nothing but config.json is known. */
export interface PlannedModel {
  /** Its tensors by name, in the type that config.json names. */
  readonly base: BaseModel;
  /** Numbers in all tensors; a tied output matrix is counted once, as it is stored. */
  readonly parameters: number;
  /** Those of them that each token is multiplied with. */
  readonly multiplied: number;
  readonly dtype: Dtype;
  readonly bytes: number;
}

/** What torch calls the types of weights. */
const TORCH_DTYPES: Readonly<Record<string, Dtype>> = {
  float64: "F64",
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
};

/**
 * The checkpoint that a config.json promises, tensor by tensor.
 *
 * @param json the same config.json as it was written: its `dtype` (`torch_dtype` before transformers 5), F32 without one
 * @param path names the model in messages
 */
export function plannedModel(
  config: DecoderConfig,
  json: Readonly<Record<string, unknown>>,
  path: string,
): PlannedModel {
  const dtype = dtypeOf(json);
  const parts = plannedMatrices(planWeights(config)).flatMap((matrix) => matrix.parts);
  const tensors = new Map(parts.map(({ name, stored }) => [name, { dtype, shape: stored }]));
  const parameters = parts.reduce((sum, { stored }) => sum + stored.reduce((product, size) => product * size, 1), 0);
  // An embedding is looked up; a tied one is the output matrix as well.
  const hasHead = parts.some(({ name }) => isOutputEmbedding(moduleOf(name)));
  const multiplied = parts
    .filter(({ name, stored }) => stored.length === 2 && !(hasHead && isInputEmbedding(name)))
    .reduce((sum, { stored: [rows = 0, cols = 0] }) => sum + rows * cols, 0);
  const base = { path, tensors, config: json };
  return { base, parameters, multiplied, dtype, bytes: parameters * dtypeBytes(dtype) };
}

function moduleOf(tensor: string): string {
  return tensor.slice(0, tensor.lastIndexOf("."));
}

function dtypeOf(json: Readonly<Record<string, unknown>>): Dtype {
  const name = json["dtype"] ?? json["torch_dtype"];
  const plain = typeof name === "string" ? name.replace(/^torch\./, "") : "";
  return Object.hasOwn(TORCH_DTYPES, plain) ? (TORCH_DTYPES[plain] ?? "F32") : "F32";
}
