"""Tiny decoders with random weights, and what transformers computes with them.

usage: decoders.py OUT      writes OUT/NAME (a model folder) for every case, and OUT/expected.json

Per case: the token ids of a prompt, the logits after it, the mean negative log-likelihood of its own tokens, and tokens
decoded greedily. Computed in f32 from the saved weights, with eager attention (the only one with soft caps). Weights are
larger than a fresh model's, so that attention and norms matter.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    Gemma2Config,
    Gemma3TextConfig,
    GptOssConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
NEW_TOKENS = 16

SIZES = {
    "vocab_size": 131,
    "hidden_size": 48,
    "intermediate_size": 88,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
}
LONG_FACTORS = {"short_factor": [1.0, 1.1, 1.3, 1.7], "long_factor": [1.0, 2.0, 3.5, 6.0]}


# A row is a model of its model_type, which is its name up to a dash: other settings of it are not trained. These take the whole walk of architectures.interop.test.ts.
YARN = {"rope_type": "yarn", "rope_theta": 500000.0, "factor": 4.0, "original_max_position_embeddings": 32}
GROWING = {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.3}
HYBRID = {"layer_types": ["full_attention"] * 3, "num_local_experts": 0, "num_experts_per_tok": 0, "shared_intermediate_size": 88, "mamba_n_heads": 6,
          "attention_multiplier": 0.2, "embedding_multiplier": 3.0, "residual_multiplier": 0.4, "logits_scaling": 2.5}
# A norm divides what is read of a state by its size, which is next to nothing where a text begins: with the usual epsilon rounding decides.
DELTA_RULE = {"layer_types": ["linear_attention", "full_attention", "linear_attention"], "head_dim": 16, "rms_norm_eps": 0.01, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
              "linear_key_head_dim": 8, "linear_value_head_dim": 12}
GEMMA4 = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention", "full_attention"], "head_dim": 16, "global_head_dim": 32, "hidden_size_per_layer_input": 0}
# Layers 4 to 6 attend with keys of layers 1 and 2.
SHARED_KEYS = {"num_hidden_layers": 6, "num_kv_shared_layers": 3, "use_double_wide_mlp": True, "layer_types": ["full_attention", "sliding_attention", "full_attention", "sliding_attention", "sliding_attention", "full_attention"]}
ROWS: dict[str, dict[str, Any]] = {
    "gemma": {"head_dim": 16},
    "gemma3": {"sliding_window": 16, "query_pre_attn_scalar": 12, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"], "head_dim": 16},
    "gemma4_text": {**GEMMA4, "attention_k_eq_v": True, "num_global_key_value_heads": 1, "final_logit_softcapping": 5.0},
    "gemma4": {**GEMMA4, **SHARED_KEYS, "hidden_size_per_layer_input": 12, "vocab_size_per_layer_input": 520},
    "gemma4-moe": {**GEMMA4, "attention_k_eq_v": True, "enable_moe_block": True, "num_experts": 6, "top_k_experts": 3, "moe_intermediate_size": 20},
    "gemma4-biases": {**GEMMA4, "attention_bias": True, "hidden_size_per_layer_input": 4},
    "mistral3": {"rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}, "head_dim": 16, "sliding_window": None},
    "ministral3": {"rope_parameters": GROWING},
    "mistral3-growing": {"text": "ministral3", "rope_parameters": GROWING, "head_dim": 16},
    "ministral": {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    "granitemoehybrid": {**HYBRID, "tie_word_embeddings": True, "position_embedding_type": "rope"},
    "granitemoehybrid-no-rope": {**HYBRID, "attention_bias": True, "shared_intermediate_size": 37},
    "phi3-4": {"vocab_size": 100352, "num_attention_heads": 8, "num_key_value_heads": 2, "sliding_window": None, "original_max_position_embeddings": 256, "bos_token_id": 100257, "eos_token_id": 100265, "pad_token_id": 100351,
               "rope_parameters": {"rope_type": "default", "rope_theta": 250000.0, "partial_rotary_factor": 1.0}, "num_hidden_layers": 2},
    "olmo2": {},
    "mixtral": {"num_local_experts": 5, "num_experts_per_tok": 2, "sliding_window": 16},
    "qwen3_moe": {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 20, "norm_topk_prob": True, "mlp_only_layers": [1]},
    "qwen2_moe": {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 20, "shared_expert_intermediate_size": 37, "mlp_only_layers": [1]},
    "granitemoe": {"num_local_experts": 6, "num_experts_per_tok": 3, "embedding_multiplier": 3.0, "attention_multiplier": 0.2, "residual_multiplier": 0.5, "logits_scaling": 2.0},
    "gpt_oss": {"num_local_experts": 6, "num_experts_per_tok": 2, "intermediate_size": 20, "sliding_window": 16, "swiglu_limit": 0.9},
    "gpt_oss-no-biases": {"num_local_experts": 5, "num_experts_per_tok": 4, "attention_bias": False, "layer_types": ["full_attention"] * 3, "tie_word_embeddings": True, "rope_parameters": YARN},
    "qwen3_5_text": {**DELTA_RULE},
    "qwen3_5_moe_text": {**DELTA_RULE, "linear_num_key_heads": 3, "linear_num_value_heads": 6, "num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 18, "shared_expert_intermediate_size": 30},
    "qwen3_5_moe": {**DELTA_RULE, "num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 20, "shared_expert_intermediate_size": 36},
    "qwen3_vl": {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}},
    "qwen3_vl_moe": {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 20, "mlp_only_layers": [1], "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}},
    "qwen2_5_vl": {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}},
    "qwen2_vl": {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}},
    "glm4_moe": {"n_routed_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 20, "routed_scaling_factor": 1.5, "use_qk_norm": True, "attention_bias": True},
    "cohere": {"logit_scale": 0.5},
    "qwen3_5": {**DELTA_RULE, "linear_num_key_heads": 4, "linear_conv_kernel_dim": 3, "attention_bias": True},
    # Sizes that are no multiples of 4.
    "llama-sizes": {"head_dim": 2},
    "phi3-sizes": {"intermediate_size": 38, "head_dim": 10, "pad_token_id": 0},
    "qwen3_5_text-sizes": {**DELTA_RULE, "linear_num_key_heads": 1, "linear_num_value_heads": 3},
    "qwen3_moe-sizes": {"head_dim": 10, "num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 18},
    "gpt_oss-sizes": {"num_local_experts": 6, "num_experts_per_tok": 2, "intermediate_size": 18},
    "qwen3_next": {**DELTA_RULE, "num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 20, "shared_expert_intermediate_size": 37, "mlp_only_layers": [1]},
    "olmoe": {"num_experts": 64, "num_experts_per_tok": 8, "intermediate_size": 12},
    "olmo2-shared-heads": {"num_key_value_heads": 1, "attention_bias": True, "tie_word_embeddings": True},
    "olmo3": {"sliding_window": 16},
    "olmo3-yarn": {
        "num_hidden_layers": 5,
        "sliding_window": 16,
        "rope_parameters": {"full_attention": YARN, "sliding_attention": {"rope_type": "default", "rope_theta": 500000.0}},
    },
    "smollm3": {"use_sliding_window": True, "sliding_window": 16, "no_rope_layer_interval": 2},
    "smollm3-windows": {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    "smollm3-biases": {"no_rope_layers": [0, 1, 0], "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False},
    "exaone4": {"sliding_window": 16, "sliding_window_pattern": 2},
    "seed_oss": {"attention_out_bias": True, "mlp_bias": True, "attention_dropout": 0.0, "residual_dropout": 0.0},
    "granite": {"attention_multiplier": 0.2, "embedding_multiplier": 3.0, "residual_multiplier": 0.4, "logits_scaling": 2.5},
    "granite-biases": {"attention_multiplier": 0.3, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    "gpt2": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "gpt2-scaled": {"scale_attn_by_inverse_layer_idx": True, "n_inner": 37, "tie_word_embeddings": False, "activation_function": "silu"},
    "gpt_neox": {"hidden_dropout": 0.0, "attention_dropout": 0.0},
    "gpt_neox-in-turn": {"use_parallel_residual": False, "attention_bias": False, "tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}},
    "phi": {"num_key_value_heads": 6},
    "glm4": {},
    "glm4-part": {"head_dim": 20, "attention_bias": False, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.6}},
    "glm4-proportional": {"head_dim": 20, "rope_parameters": {"rope_type": "proportional", "rope_theta": 10000.0, "partial_rotary_factor": 0.6}},
    "cohere2": {"sliding_window": 16, "sliding_window_pattern": 2, "logit_scale": 0.5},
    "cohere2-biases": {"head_dim": 12, "attention_bias": True, "tie_word_embeddings": False},
    "lfm2": {"norm_eps": 1e-5, "layer_types": ["conv", "full_attention", "conv"], "block_multiple_of": 8},
    "lfm2-biases": {"conv_bias": True, "conv_L_cache": 5, "full_attn_idxs": [2], "block_auto_adjust_ff_dim": False, "tie_word_embeddings": False},
    "lfm2_moe": {"norm_eps": 1e-5, "layer_types": ["conv", "full_attention", "conv"], "num_dense_layers": 1, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 20, "routed_scaling_factor": 1.5},
    "lfm2_moe-plain": {"layer_types": ["conv", "full_attention", "conv"], "num_dense_layers": 1, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 20, "use_expert_bias": False, "norm_topk_prob": False},
    "starcoder2": {"sliding_window": 16},
    "starcoder2-no-biases": {"use_bias": False, "num_key_value_heads": 1, "intermediate_size": 37},
}


# Models of several parts: the kind of their text decoder, and settings of the others.
PARTS: dict[str, tuple[str, dict[str, Any]]] = {"gemma3": ("gemma3_text", {"mm_tokens_per_image": 4}), "gemma4": ("gemma4_text", {}), "mistral3": ("mistral", {"tie_word_embeddings": False}), "qwen3_5": ("qwen3_5_text", {"tie_word_embeddings": False}),
         "qwen3_5_moe": ("qwen3_5_moe_text", {"tie_word_embeddings": False}), "qwen3_vl": ("qwen3_vl_text", {"tie_word_embeddings": False}), "qwen3_vl_moe": ("qwen3_vl_moe_text", {"tie_word_embeddings": False}), "qwen2_vl": ("qwen2_vl_text", {"tie_word_embeddings": False}), "qwen2_5_vl": ("qwen2_5_vl_text", {"tie_word_embeddings": False})}
VISION = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}


def row_config(name: str) -> PreTrainedConfig:
    settings = {**SIZES, "vocab_size": 512, "max_position_embeddings": 256, **ROWS[name]}
    kind = name.split("-")[0]
    if kind not in PARTS:
        return AutoConfig.for_model(kind, **settings)
    text, others = PARTS[kind]
    text = settings.pop("text", text)
    return AutoConfig.for_model(kind, text_config={"model_type": text, **settings}, vision_config=VISION, **others)


def of_config(config: PreTrainedConfig) -> torch.nn.Module:
    """A fresh model, with all its parts."""
    return (AutoModelForImageTextToText if hasattr(config, "text_config") else AutoModelForCausalLM).from_config(config)


def eager(folder: Path | str) -> torch.nn.Module:
    """The model of `folder` in f32, with the attention that knows soft caps."""
    auto = AutoModelForImageTextToText if hasattr(AutoConfig.from_pretrained(folder), "text_config") else AutoModelForCausalLM
    return auto.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").eval()


def rope(kind: str, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **more}}


def case(config: type[PreTrainedConfig], dtype: str = "f32", tokens: int = 40, shards: bool = False, **settings: Any):
    return {"config": config(**{**SIZES, **settings}), "dtype": dtype, "tokens": tokens, "shards": shards}


def cases() -> dict[str, dict[str, Any]]:
    llama3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
    yarn = {"factor": 4.0, "original_max_position_embeddings": 32}
    by_dtype = {
        f"{name}-{dtype}": case(config, dtype, shards=dtype == "bf16", **settings)
        for dtype in DTYPES
        for name, config, settings in [
            ("llama", LlamaConfig, {}),
            ("mistral", MistralConfig, {"sliding_window": 16}),
            ("qwen2", Qwen2Config, {"tie_word_embeddings": True}),
            ("qwen3", Qwen3Config, {"num_key_value_heads": 1, "head_dim": 16}),
            ("phi3", Phi3Config, {}),
            ("mixtral", MixtralConfig, {"num_local_experts": 5, "num_experts_per_tok": 2}),
            ("qwen3_moe", Qwen3MoeConfig, {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 20}),
            ("gemma2", Gemma2Config, {"sliding_window": 16, "query_pre_attn_scalar": 12, "final_logit_softcapping": 5.0, "attn_logit_softcapping": 3.0}),
            ("gemma3", Gemma3TextConfig, {"sliding_window": 16, "query_pre_attn_scalar": 12, "num_hidden_layers": 7, "head_dim": 16}),
        ]
    }
    return {
        **by_dtype,
        **{name: {"config": row_config(name), "dtype": "f32", "tokens": 75, "shards": False} for name in ROWS},
        "llama-biases": case(LlamaConfig, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
        "llama-odd-sizes": case(LlamaConfig, "bf16", intermediate_size=37, head_dim=20, attention_bias=True, mlp_bias=True, shards=True),
        "qwen2-odd-sizes": case(Qwen2Config, hidden_act="gelu_fast", intermediate_size=250, head_dim=4),
        "mistral-odd-sizes": case(MistralConfig, "f16", hidden_act="gelu_python", hidden_size=54, intermediate_size=37, head_dim=12),
        "phi3-odd-sizes": case(Phi3Config, hidden_act="gelu_accurate", hidden_size=120, intermediate_size=37, head_dim=20, **rope("default", partial_rotary_factor=0.5)),
        "llama-one-kv-head": case(LlamaConfig, num_key_value_heads=1, hidden_act="gelu"),
        "llama-wide": case(LlamaConfig, hidden_size=72, intermediate_size=300, num_attention_heads=3, num_key_value_heads=3, head_dim=64, vocab_size=9001),
        "llama-linear": case(LlamaConfig, tokens=100, **rope("linear", factor=3.0)),
        "llama-dynamic": case(LlamaConfig, tokens=100, **rope("dynamic", factor=2.0)),
        "llama-dynamic-short": case(LlamaConfig, tokens=40, **rope("dynamic", factor=2.0)),
        "llama-llama3": case(LlamaConfig, tokens=100, **rope("llama3", **llama3)),
        "llama-yarn": case(LlamaConfig, tokens=100, **rope("yarn", **yarn)),
        "llama-yarn-settings": case(LlamaConfig, tokens=100, **rope("yarn", **yarn, beta_fast=4.0, beta_slow=2.0, truncate=False, attention_factor=1.3)),
        "llama-yarn-mscale": case(LlamaConfig, tokens=100, **rope("yarn", **yarn, mscale=0.8, mscale_all_dim=0.5)),
        "llama-longrope": case(LlamaConfig, tokens=100, **rope("longrope", **LONG_FACTORS, original_max_position_embeddings=32)),
        "phi3-longrope-long": case(Phi3Config, tokens=100, max_position_embeddings=256, original_max_position_embeddings=64, **rope("longrope", **LONG_FACTORS)),
        "phi3-longrope-short": case(Phi3Config, tokens=40, max_position_embeddings=256, original_max_position_embeddings=64, **rope("longrope", **LONG_FACTORS)),
        "phi3-longrope-crossing": case(Phi3Config, tokens=56, max_position_embeddings=256, original_max_position_embeddings=64, **rope("longrope", **LONG_FACTORS)),
        "phi3-partial": case(Phi3Config, hidden_size=96, num_attention_heads=6, head_dim=16, sliding_window=16, **rope("default", partial_rotary_factor=0.5)),
        "qwen2-windows": case(Qwen2Config, use_sliding_window=True, sliding_window=16, max_window_layers=1),
        "qwen3-biases": case(Qwen3Config, hidden_act="gelu_python_tanh", attention_bias=True, tie_word_embeddings=True),
        "mixtral-windows": case(MixtralConfig, num_local_experts=9, num_experts_per_tok=1, sliding_window=16, tie_word_embeddings=True),
        "qwen3_moe-plain-layers": case(Qwen3MoeConfig, num_experts=64, num_experts_per_tok=8, moe_intermediate_size=12, norm_topk_prob=True, attention_bias=True, mlp_only_layers=[0], num_hidden_layers=4, decoder_sparse_step=2),
        "gemma3-linear": case(Gemma3TextConfig, tokens=100, num_hidden_layers=7, sliding_window=16, rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        }),
        "gpt_oss-mxfp4": case(GptOssConfig, "bf16", hidden_size=64, intermediate_size=96, num_local_experts=6, num_experts_per_tok=2, sliding_window=16, shards=True),
    }


def randomise(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Weights with outputs about as large as their inputs, norms around their neutral value, biases that matter."""
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if weight.dim() >= 2:
            weight.data = noise * (1.5 / weight.shape[-1] ** 0.5)
        elif "norm" in name or name.endswith("scale"):
            weight.data = weight.data + 0.2 * noise
        else:
            weight.data = 0.3 * noise
    for name, vector in model.named_buffers():
        if name.endswith(("expert_bias", "e_score_correction_bias")):
            vector.copy_(0.2 * torch.randn(vector.shape, generator=generator))
        if name.endswith("layer_scalar"):
            vector.copy_(1 + 0.2 * torch.randn(vector.shape, generator=generator))


def pack_experts(folder: Path, generator: torch.Generator) -> None:
    """Makes the experts of a gpt-oss folder random ones in MXFP4, as it is published."""
    for path in folder.glob("*.safetensors"):
        packed = {}
        for name, weight in load_file(path).items():
            if not name.endswith(("gate_up_proj", "down_proj")):
                packed[name] = weight
                continue
            experts, inner, out = weight.shape
            packed[f"{name}_blocks"] = torch.randint(256, (experts, out, inner // 32, 16), generator=generator, dtype=torch.uint8)
            packed[f"{name}_scales"] = torch.randint(119, 124, (experts, out, inner // 32), generator=generator, dtype=torch.uint8)
        save_file(packed, path, {"format": "pt"})
    index = folder / "model.safetensors.index.json"
    if index.exists():
        listed = json.loads(index.read_text())
        files = {path.name: load_file(path) for path in folder.glob("*.safetensors")}
        listed["weight_map"] = {name: file for file, tensors in files.items() for name in tensors}
        index.write_text(json.dumps(listed))
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]}
    (folder / "config.json").write_text(json.dumps(config))


def describe(folder: Path, ids: list[int]) -> dict[str, Any]:
    model = eager(folder)
    tokens = torch.tensor([ids])
    with torch.no_grad():
        logits = model(tokens).logits[0].double()
        model = eager(folder)
        made = model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
        )
    return {
        "ids": ids,
        "logits": logits[-1].tolist(),
        "nll": torch.nn.functional.cross_entropy(logits[:-1], tokens[0, 1:]).item(),
        "greedy": made[0, len(ids) :].tolist(),
    }


def main(out: Path) -> None:
    expected = {}
    for seed, (name, made) in enumerate(cases().items()):
        generator = torch.Generator().manual_seed(seed)
        model = of_config(made["config"])
        randomise(model, generator)
        folder = out / name
        model.to(DTYPES[made["dtype"]]).save_pretrained(folder, max_shard_size="20KB" if made["shards"] else "1GB")
        if name.endswith("mxfp4"):
            pack_experts(folder, generator)
        ids = torch.randint(2, made["config"].get_text_config().vocab_size, (made["tokens"],), generator=generator).tolist()
        expected[name] = describe(folder, ids)
    (out / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
