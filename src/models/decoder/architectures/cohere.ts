import { RandloraError } from "../../../files/errors.ts";
import type { Architecture } from "./common.ts";
import { cohere2 } from "./cohere2.ts";

/** Cohere (Command R): as Cohere 2, with a rope and all tokens in each layer. */
export const cohere: Architecture = {
  type: "cohere",
  title: "Command R",
  describe(json) {
    if (json.use_qk_norm === true) {
      throw new RandloraError(
        "model",
        "use_qk_norm (Command R+) is not supported: each of its heads has weights of its own",
      );
    }
    // Cohere 2 turns what has a window.
    const layer_types = Array.from({ length: json.num_hidden_layers }, () => "sliding_attention");
    const all = { ...json, layer_types, sliding_window: Infinity, rope_theta: json.rope_theta ?? 500_000 };
    return cohere2.describe(all);
  },
};
