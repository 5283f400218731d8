import type { LayerInput } from "../../blocks/layer-input.ts";
import { type PlannedMatrix, tableInFile } from "../../tensor-plan.ts";
import type { DecoderConfig } from "../config.ts";
import { output, type Sizes, weights } from "./modules.ts";
import { rmsNorm } from "./norms.ts";

/** What every layer reads of each token beside the stream, `size` elements: a table for all layers, and a projection of embeddings. */
export function layerInputs(
  { hidden, epsilon }: Sizes,
  { layers, size, vocabulary }: { readonly layers: number; readonly size: number; readonly vocabulary: number },
): Required<Pick<DecoderConfig, "layerInputs" | "layerTable">> {
  const cols = layers * size;
  return {
    layerTable: tableInFile(cols, ["model.embed_tokens_per_layer.weight", [vocabulary, cols]]),
    layerInputs: {
      projection: weights(hidden, [["model.per_layer_model_projection", cols]]),
      // What is projected is divided by √hidden first: the same comes of an ε that is larger by hidden.
      norm: rmsNorm("model.per_layer_projection_norm", size, epsilon * hidden),
      scale: Math.sqrt(size),
    },
  };
}

/** What layer number `index`, whose modules are below `path`, makes of it. */
export function layerInput(
  path: string,
  { hidden, activation }: Sizes,
  size: number,
  index: number,
): LayerInput<PlannedMatrix> {
  return {
    kind: "layer-input",
    activation,
    gate: weights(hidden, [[`${path}.per_layer_input_gate`, size]]),
    first: index * size,
    output: output([`${path}.per_layer_projection`, hidden], size, false),
  };
}
