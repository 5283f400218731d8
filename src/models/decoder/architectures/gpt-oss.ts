import { RandloraError } from "../../../files/errors.ts";
import type { Experts } from "../../blocks/experts.ts";
import { plannedMatrix, type PlannedMatrix, plannedVector } from "../../tensor-plan.ts";
import { transposedExperts } from "../experts.ts";
import { attention, rmsNorm } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, isSliding, type ModelSizes, routingOf, sizesOf, withDefault } from "./common.ts";

/** The rope of a config.json that says none. */
const YARN = {
  rope_type: "yarn",
  factor: 32,
  beta_fast: 32,
  beta_slow: 1,
  truncate: false,
  original_max_position_embeddings: 4096,
};

/** The factor in the gate of the experts, which is quick-gelu's. */
const ALPHA = 1.702;

/** gpt-oss (20b, 120b): sinks in attention, which sees a window in every other layer, and experts with biases and a clamped gate. */
export const gptOss: Architecture = {
  type: "gpt_oss",
  title: "gpt-oss (20b, 120b)",
  gguf: { name: "gpt-oss", transformers: "GptOssForCausalLM", mlpNorm: "post_attention_norm" },
  describe(json) {
    // null: the width of all heads is the hidden size.
    const head = json.head_dim === undefined ? { headSize: 64 } : {};
    const sizes = sizesOf(json, { contextLength: 131_072, epsilon: 1e-5, kvHeads: 8, ...head });
    const { swiglu_alpha: alpha = ALPHA, swiglu_limit: limit } = json;
    if ((alpha ?? ALPHA) !== ALPHA) {
      throw new RandloraError("model", `swiglu_alpha ${alpha} is not supported`, `supported: ${ALPHA}`);
    }
    const routing = routingOf(json, { count: 128, chosen: 4, amongChosen: true });
    const rope_scaling = json.rope_scaling ?? json.rope_parameters ?? YARN;
    const width = withDefault(json.sliding_window, 128) ?? Infinity;
    const bias = json.attention_bias ?? true;
    return decoder(json, sizes, {
      ropes: [ropeOf({ ...json, rope_scaling }, { ...sizes, theta: 150_000 })],
      layer(path, index) {
        const norm = (name: string) => rmsNorm(`${path}.${name}`, sizes.hidden, sizes.epsilon);
        const window = isSliding(json, index, index % 2 === 0) ? width : Infinity;
        const heads = { window, sinks: true, qkvBias: bias, outputBias: bias };
        return [
          { before: norm("input_layernorm"), mixer: attention(`${path}.self_attn`, sizes, heads) },
          {
            before: norm("post_attention_layernorm"),
            mixer: { ...experts(`${path}.mlp`, sizes, routing.count), ...routing, clamp: limit ?? 7 },
          },
        ];
      },
    });
  },
};

/**
 * Gates and ups are interleaved. Experts in MXFP4 stay so in memory, with the numbers that transformers makes of them; what `merge` and
 * `full` write of them is BF16 or --dtype, and config.json loses its `quantization_config`.
 */
function experts(
  path: string,
  sizes: ModelSizes,
  count: number,
): Omit<Experts<PlannedMatrix>, "chosen" | "amongChosen" | "clamp"> {
  const { hidden, inner, activation } = sizes;
  const { gateUp, down } = transposedExperts(path, sizes, count);
  const bias = (name: string, rows: number) => plannedVector([`${path}.experts.${name}_bias`, [count, rows]]);
  return {
    kind: "experts",
    count,
    activation,
    router: plannedMatrix(hidden, [`${path}.router.weight`, [count, hidden]]),
    routerBias: plannedVector([`${path}.router.bias`, [count]]),
    gateUp,
    gateUpBias: bias("gate_up_proj", 2 * inner),
    down,
    downBias: bias("down_proj", hidden),
  };
}
