/** What llama.cpp calls the parts of a layer. */
const PARTS: Readonly<Record<string, string>> = {
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};

/** The name that a llama's tensor has in a GGUF file. */
export function ggufName(name: string): string {
  if (name === "model.embed_tokens.weight") return "token_embd.weight";
  if (name === "model.norm.weight") return "output_norm.weight";
  if (name === "lm_head.weight") return "output.weight";
  const [, layer, part = ""] = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(name) ?? [];
  const found = PARTS[part];
  if (found === undefined) throw new Error(`${name} has no name in GGUF`);
  return `blk.${layer}.${found}.weight`;
}

/** The names of a llama's tensors, the embedding being the head as well, in alphabetical order. */
export function llamaNames(layers: number): string[] {
  const inLayers = Array.from({ length: layers }, (_, layer) =>
    Object.keys(PARTS).map((part) => `model.layers.${layer}.${part}.weight`),
  );
  return ["model.embed_tokens.weight", "model.norm.weight", ...inLayers.flat()].toSorted();
}

/**
 * Where row `row` of a head of q or k stands in GGUF. Hugging Face turns the first half of a head's rows with the second,
 * llama.cpp each row with its neighbor.
 */
export function pairedRow(row: number, headSize: number): number {
  const half = headSize / 2;
  return (row % half) * 2 + Math.floor(row / half);
}
