import { RandloraError } from "../../files/errors.ts";
import { quote } from "../../files/failure.ts";
import type { DecoderConfig } from "../decoder/config.ts";

/** What llama.cpp calls the modules of a layer (gguf-py, tensor_mapping.py). */
const PARTS: Readonly<Record<string, string>> = {
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.qkv_proj": "attn_qkv",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
  "self_attn.o_proj": "attn_output",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.gate_up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};

/** Gemma normalizes before and after; the name of Llama's one norm between means another one there. */
const PARTS_WITH_POST_NORMS: Readonly<Record<string, string>> = {
  ...PARTS,
  post_attention_layernorm: "post_attention_norm",
  pre_feedforward_layernorm: "ffn_norm",
  post_feedforward_layernorm: "post_ffw_norm",
};

const TOP: Readonly<Record<string, string>> = {
  "model.embed_tokens": "token_embd",
  "model.norm": "output_norm",
  lm_head: "output",
};

/** The name in GGUF of the module `name` of a checkpoint (`model.layers.0.self_attn.q_proj`); undefined: it has none. */
export function ggufModule(name: string, { postNorms }: Pick<DecoderConfig, "postNorms">): string | undefined {
  const [, layer, part = ""] = /^model\.layers\.(\d+)\.(.+)$/.exec(name) ?? [];
  if (layer === undefined) return TOP[name];
  const found = (postNorms ? PARTS_WITH_POST_NORMS : PARTS)[part];
  return found === undefined ? undefined : `blk.${layer}.${found}`;
}

/** Where a checkpoint's tensor goes, and what is done to its numbers. */
export interface GgufPlace {
  readonly name: string;
  /** Heads whose rows are brought into llama.cpp's order; 0: none. */
  readonly heads: number;
  /** Added to every number: 1 for Gemma's norms, which store weight − 1. */
  readonly offset: number;
}

/**
 * Where the tensor `name` of a checkpoint goes in a GGUF file; undefined where it is left out, because llama.cpp does not
 * read it: the copy of a tied embedding, angles that are computed.
 * @throws RandloraError `model` naming a tensor that llama.cpp has no place for
 */
export function ggufPlace(name: string, config: DecoderConfig): GgufPlace | undefined {
  if (name.endsWith(".rotary_emb.inv_freq")) return undefined;
  const dot = name.lastIndexOf(".");
  const [module, kind] = [name.slice(0, dot), name.slice(dot + 1)];
  if (module === "lm_head" && config.tied) return undefined;
  const found = kind === "weight" || kind === "bias" ? ggufModule(module, config) : undefined;
  if (found === undefined) {
    const hint = "GGUF holds a language model's own tensors: leave out heads of other tasks and quantized weights";
    throw new RandloraError("model", `tensor ${quote(name)} has no place in GGUF's ${config.architecture}`, hint);
  }
  const offset = found.endsWith("_norm") ? config.normOffset : 0;
  return { name: `${found}.${kind}`, heads: permutedHeads(module, config), offset };
}

/**
 * Heads of a module whose rows llama.cpp has in another order. Hugging Face turns the first half of a head's rows with
 * the second, llama.cpp's `llama` each row with its neighbor; its other architectures do as Hugging Face.
 */
export function permutedHeads(module: string, { architecture, heads, kvHeads }: DecoderConfig): number {
  if (architecture !== "llama" && architecture !== "mistral") return 0;
  if (module.endsWith(".q_proj")) return heads;
  return module.endsWith(".k_proj") ? kvHeads : 0;
}
