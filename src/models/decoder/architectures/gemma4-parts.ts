import { RandloraError } from "../../../files/errors.ts";
import type { Experts } from "../../blocks/experts.ts";
import { type PlannedMatrix, plannedVector, tableInFile } from "../../tensor-plan.ts";
import type { ConfigJson } from "../config-file.ts";
import { experts, gatedMlp, rmsNorm } from "../parts.ts";
import { type ModelSizes, routingOf } from "./common.ts";
import type { LayerInput } from "../../blocks/layer-input.ts";
import type { DecoderConfig } from "../config.ts";
import { output, type Sizes, weights } from "../parts/modules.ts";

/** Files have tensors of all experts, beside the MLP. */
const NAMES = { router: "router.proj.weight", gateUp: "experts.gate_up_proj", down: "experts.down_proj" };

/**
 * The experts of Gemma 4 26B-A4B, of the layer `path` with an MLP of these sizes beside them: MLP, experts and router read a norm of
 * their own each; undefined: there are none. `full` trains the router's norm and factors as well. A target's name (`up_proj`) means the
 * MLP's module, as in PEFT; a regular expression also means the experts'. `all-linear` includes `router.proj`, as in PEFT.
 * @throws RandloraError `model` for numbers that are missing or cannot be
 */
export function gemma4Experts(
  json: ConfigJson,
): ((path: string, sizes: ModelSizes) => Experts<PlannedMatrix>) | undefined {
  if (json.enable_moe_block !== true) return undefined;
  for (const name of ["num_experts", "top_k_experts", "moe_intermediate_size"] as const) {
    if ((json[name] ?? undefined) !== undefined) continue;
    throw new RandloraError("model", `enable_moe_block without ${name}`, "fetch config.json again");
  }
  const inner = json.moe_intermediate_size ?? NaN;
  const asked = { ...json, num_experts_per_tok: json.top_k_experts };
  const routing = routingOf(asked, { count: 128, chosen: 8, amongChosen: true });
  return (path, sizes) => {
    const { hidden, epsilon } = sizes;
    const norm = (name: string) => rmsNorm(`${path}.${name}`, hidden, epsilon);
    const vector = (name: string, size: number) => plannedVector([`${path}.router.${name}`, [size]]);
    return {
      ...experts(path, { ...sizes, inner }, routing, { path: "", names: NAMES, fused: { ...NAMES, path: "" } }),
      routerNorm: { kind: "rms", weight: vector("scale", hidden), epsilon, offset: 0 },
      logitScale: 1 / Math.sqrt(hidden),
      scales: vector("per_expert_scale", routing.count),
      beside: {
        before: norm("pre_feedforward_layernorm"),
        mlp: gatedMlp(`${path}.mlp`, sizes),
        after: norm("post_feedforward_layernorm_1"),
        afterExperts: norm("post_feedforward_layernorm_2"),
      },
    };
  };
}

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
