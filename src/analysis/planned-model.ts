import type { BaseModel } from "../adapters/base.ts";
import type { DecoderConfig } from "../models/config.ts";
import { plannedMatrices, planWeights } from "../models/weight-plan.ts";
import { type Dtype, dtypeBytes } from "../safetensors/dtype.ts";

/** A model of which nothing but config.json is known. */
export interface PlannedModel {
  /** Its tensors by name, in the type that config.json names. */
  readonly base: BaseModel;
  /** Numbers in all tensors; a tied output matrix is counted once, as it is stored. */
  readonly parameters: number;
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
  return { base: { path, tensors, config: json }, parameters, dtype, bytes: parameters * dtypeBytes(dtype) };
}

function dtypeOf(json: Readonly<Record<string, unknown>>): Dtype {
  const name = json["dtype"] ?? json["torch_dtype"];
  const plain = typeof name === "string" ? name.replace(/^torch\./, "") : "";
  return Object.hasOwn(TORCH_DTYPES, plain) ? (TORCH_DTYPES[plain] ?? "F32") : "F32";
}
