import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import type { Linears } from "../blocks/linears.ts";
import { recordNorm } from "../blocks/norm.ts";
import type { DecoderWeights } from "./weights.ts";

/** Uploads the rows of tokens `ids`, (tokens, layers · size) F32; undefined: the model has no such table. @throws RandloraError `file` */
export function uploadLayerRows(
  recorder: Recorder,
  weights: DecoderWeights,
  ids: ArrayLike<number>,
): Tensor | undefined {
  const { layerTable } = weights;
  return layerTable && recorder.upload("rows of layers", [ids.length, layerTable.cols], layerRows(weights, ids));
}

/** The same rows in the host's memory. */
export function layerRows({ layerTable, layerInputs }: DecoderWeights, ids: ArrayLike<number>) {
  if (layerTable === undefined || layerInputs === undefined) return new Float32Array();
  return layerTable.rows(ids, layerInputs.scale);
}

/** Records (norm(projection x) + rows) / √2 of embeddings x; undefined: the model has none of it. Neither x nor the rows are released. */
export function recordLayerInputs(
  recorder: Recorder,
  linears: Linears,
  { layerInputs }: DecoderWeights,
  x: Tensor,
  rows: Tensor | undefined,
): Tensor | undefined {
  if (layerInputs === undefined || rows === undefined) return undefined;
  const { projection: weight, norm } = layerInputs;
  const projected = linears.apply(recorder, { x, weight, bias: undefined, residual: undefined });
  const normed = recordNorm(recorder, norm, projected);
  const { y: sum } = recorder.apply(OPS.add, { a: normed, b: rows }, {});
  const { y } = recorder.apply(OPS.scale, { x: sum }, { factor: Math.SQRT1_2 });
  recorder.release(projected, normed, sum);
  return y;
}
