"""Small random models of every architecture that llama.cpp has, with tokenizers in the manner of each family: what
`convert --to gguf` is given.

usage: gguf_models.py OUT      writes OUT/NAME (a model folder) for every case
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from decoders import VISION, of_config, pack_experts, randomise
from transformers import AutoConfig, PreTrainedConfig

TOKENIZERS = Path(__file__).parents[2] / "fixtures" / "tokenizers"
SIZES = {
    "vocab_size": 544,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}
LLAMA3_ROPE = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
LONG_FACTORS = {"short_factor": [1.0, 1.1, 1.2, 1.3, 1.5, 1.7, 1.9, 2.1], "long_factor": [1.0, 1.5, 2.0, 2.5, 3.5, 4.5, 6.0, 8.0]}
GRANITE = {"attention_multiplier": 0.2, "embedding_multiplier": 3.0, "residual_multiplier": 0.4, "logits_scaling": 2.5}
GRANITE_4 = {**GRANITE, "layer_types": ["attention"] * 2, "num_local_experts": 0, "num_experts_per_tok": 0, "shared_intermediate_size": 96}
GROWING = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 32.0, "beta_slow": 1.0,
           "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1}
SHARED = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 40}
# A norm divides what is read of a state by its size, which is next to nothing where a text begins: with the usual epsilon rounding decides.
DELTA_RULE = {"num_hidden_layers": 4, "head_dim": 16, "rms_norm_eps": 0.01, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16}
OLMO3_ROPES = {
    "full_attention": {"rope_type": "yarn", "rope_theta": 500000.0, "factor": 4.0, "original_max_position_embeddings": 64},
    "sliding_attention": {"rope_type": "default", "rope_theta": 500000.0},
}
# llama.cpp begins and ends the interpolation at whole pairs; with these lengths they are all but whole.
GPT_OSS = {
    "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 16, "max_position_embeddings": 4560,
    "rope_parameters": {"rope_type": "yarn", "rope_theta": 1060000.0, "factor": 4.0, "original_max_position_embeddings": 1140, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False},
}
GEMMA4 = {"sliding_window": 16, "head_dim": 16, "global_head_dim": 32, "hidden_size_per_layer_input": 0, "tie_word_embeddings": True}
# Layers 5 and 6 attend with keys of layers 3 and 4.
SHARED_KEYS = {
    "num_hidden_layers": 6, "num_kv_shared_layers": 2, "use_double_wide_mlp": True, "hidden_size_per_layer_input": 32, "vocab_size_per_layer_input": 544,
    "layer_types": ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention", "sliding_attention", "full_attention"],
}
EXPERTS_BESIDE = {"enable_moe_block": True, "num_experts": 6, "top_k_experts": 3, "moe_intermediate_size": 32}
GEMMA = {"query_pre_attn_scalar": 16, "sliding_window": 32, "tie_word_embeddings": True}


def rope(kind: str, theta: float = 10000.0, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **more}}


def cases() -> dict[str, tuple[str, torch.dtype, PreTrainedConfig]]:
    """The tokenizer, the weights' dtype, the configuration."""

    def case(tokenizer: str, dtype: torch.dtype, kind: str, **settings: Any):
        return tokenizer, dtype, AutoConfig.for_model(kind, **{**SIZES, **settings})

    def with_images(tokenizer: str, kind: str, text: str, vision: dict[str, Any] = VISION, others: dict[str, Any] = {}, **settings: Any):
        parts = {"text_config": {"model_type": text, **SIZES, **settings}, "vision_config": vision}
        return tokenizer, torch.bfloat16, AutoConfig.for_model(kind, **parts, **others)

    bf16, f16, f32 = torch.bfloat16, torch.float16, torch.float32
    return {
        "llama": case("gpt2", f32, "llama", attention_bias=True, mlp_bias=True),
        "llama2": case("llama2", bf16, "llama", tie_word_embeddings=True),
        "llama3": case("llama3", bf16, "llama", num_key_value_heads=4, **rope("llama3", 500000.0, **LLAMA3_ROPE)),
        "llama-linear": case("gpt4o", bf16, "llama", **rope("linear", factor=2.0)),
        "llama-yarn": case("gpt2", f32, "llama", **rope("yarn", factor=4.0, original_max_position_embeddings=64)),
        "llama-odd": case("gpt2", bf16, "llama", intermediate_size=90, head_dim=20),
        "mistral": case("mistral", f16, "mistral", sliding_window=None),
        "qwen2": case("qwen2", bf16, "qwen2", tie_word_embeddings=True),
        "qwen3": case("qwen2", bf16, "qwen3", head_dim=32),
        "phi3": case("phi3", f32, "phi3", pad_token_id=0, sliding_window=None),
        "phi3-longrope": case("gpt4o", bf16, "phi3", pad_token_id=0, max_position_embeddings=1024, original_max_position_embeddings=256, **rope("longrope", **LONG_FACTORS)),
        "gemma2": case("gemma", bf16, "gemma2", **GEMMA),
        "gemma": case("gemma", bf16, "gemma", tie_word_embeddings=True),
        "olmo2": case("gpt2", bf16, "olmo2"),
        "smollm3": case("llama3", bf16, "smollm3", pad_token_id=0, num_hidden_layers=4, tie_word_embeddings=True),
        "granite": case("gpt2", bf16, "granite", **GRANITE, attention_bias=True, tie_word_embeddings=True),
        "seed_oss": case("gpt2", bf16, "seed_oss", attention_dropout=0.0, residual_dropout=0.0),
        "gemma3": case("gemma", bf16, "gemma3_text", **GEMMA, num_hidden_layers=7),
        "gemma3-images": with_images("gemma", "gemma3", "gemma3_text", others={"mm_tokens_per_image": 4}, **GEMMA, num_hidden_layers=6),
        "olmo3": case("gpt2", bf16, "olmo3", num_hidden_layers=4, sliding_window=32, rope_parameters=OLMO3_ROPES),
        "exaone4": case("gpt2", bf16, "exaone4", sliding_window=None, layer_types=["full_attention"] * 2, **rope("llama3", 500000.0, **LLAMA3_ROPE)),
        "exaone4-windows": case("gpt2", f32, "exaone4", sliding_window=16, num_hidden_layers=64, hidden_size=16, intermediate_size=16, head_dim=4),
        "starcoder2": case("gpt2", bf16, "starcoder2", sliding_window=None, use_bias=True, tie_word_embeddings=True),
        "glm4": case("gpt2", bf16, "glm4", pad_token_id=0, attention_bias=True),
        "cohere2": case("gpt2", bf16, "cohere2", pad_token_id=0, num_hidden_layers=4, sliding_window=16, logit_scale=0.5, tie_word_embeddings=True),
        "lfm2": case("gpt2", bf16, "lfm2", layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False, tie_word_embeddings=True),
        "mixtral": case("llama2", bf16, "mixtral", num_local_experts=4, num_experts_per_tok=2, sliding_window=None),
        "mixtral-fused": case("llama2", bf16, "mixtral", num_local_experts=4, num_experts_per_tok=2, sliding_window=None),
        "qwen3_moe": case("qwen2", bf16, "qwen3_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, norm_topk_prob=True),
        "olmoe": case("gpt2", bf16, "olmoe", num_key_value_heads=4, num_experts=8, num_experts_per_tok=2, intermediate_size=32),
        "granitemoe": case("gpt2", bf16, "granitemoe", **GRANITE, num_local_experts=4, num_experts_per_tok=2),
        "gpt2": case("gpt2", f16, "gpt2", n_inner=256, tie_word_embeddings=True),
        "ministral": case("tekken", bf16, "ministral", sliding_window=None, layer_types=["full_attention"] * 2),
        "ministral3": case("tekken", bf16, "ministral3", rope_parameters=GROWING),
        "mistral3": with_images("tekken", "mistral3", "mistral", others={"tie_word_embeddings": False}, sliding_window=None, rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
        "mistral3-growing": with_images("tekken", "mistral3", "ministral3", others={"tie_word_embeddings": True}, rope_parameters={**GROWING, "mscale_all_dim": 0.5}),
        "granite4": case("gpt2", bf16, "granitemoehybrid", **GRANITE_4, position_embedding_type="rope"),
        "granite4-no-rope": case("gpt2", bf16, "granitemoehybrid", **GRANITE_4, attention_bias=True, tie_word_embeddings=True),
        "qwen2_moe": case("qwen2", bf16, "qwen2_moe", **SHARED),
        "lfm2_moe": case("gpt2", bf16, "lfm2_moe", num_hidden_layers=3, layer_types=["conv", "full_attention", "conv"], num_dense_layers=1, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, tie_word_embeddings=True),
        "qwen3_next": case("qwen2", bf16, "qwen3_next", **DELTA_RULE, **SHARED, norm_topk_prob=True),
        "qwen3_5_text": case("qwen35", f32, "qwen3_5_text", **DELTA_RULE, tie_word_embeddings=True),
        "qwen3_5": with_images("qwen35", "qwen3_5", "qwen3_5_text", others={"tie_word_embeddings": False}, **{**DELTA_RULE, "linear_num_key_heads": 4}),
        "llama-yarn-factor": case("gpt2", f32, "llama", **rope("yarn", factor=4.0, original_max_position_embeddings=64, attention_factor=1.3)),
        "gpt_oss": case("gpt4o", f32, "gpt_oss", pad_token_id=0, **GPT_OSS),
        "gpt_oss-mxfp4": case("gpt4o", bf16, "gpt_oss", pad_token_id=0, **GPT_OSS),
        "gemma4_text": case("gemma", f32, "gemma4_text", **GEMMA4, num_hidden_layers=6, attention_k_eq_v=True, num_global_key_value_heads=1, final_logit_softcapping=5.0),
        "gemma4": with_images("gemma", "gemma4", "gemma4_text", **GEMMA4 | SHARED_KEYS),
        "gemma4-moe": case("gemma", f32, "gemma4_text", **GEMMA4, layer_types=["sliding_attention", "full_attention"], **EXPERTS_BESIDE),
    }


# Tokenizers whose texts are cut otherwise: the one that has the vocabulary, and the regular expression.
CUT = {
    "tekken": ("llama3", r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
    "qwen35": ("qwen2", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
}


def tokenizer_of(name: str) -> dict[str, Any]:
    vocabulary, regex = CUT.get(name, (name, None))
    tokenizer = json.loads((TOKENIZERS / f"{vocabulary}.json").read_text())["tokenizer"]
    if regex is not None:
        split = next(part for part in tokenizer["pre_tokenizer"]["pretokenizers"] if part["type"] == "Split")
        split["pattern"] = {"Regex": regex}
    return tokenizer


def gguf_models(out: str) -> list[str]:
    """Writes every case into a folder; returns their names."""
    for seed, (name, (tokenizer, dtype, config)) in enumerate(cases().items()):
        model = of_config(config)
        randomise(model, torch.Generator().manual_seed(seed))
        folder = Path(out) / name
        model.to(dtype).save_pretrained(folder, save_original_format="fused" not in name)
        if name.endswith("mxfp4"):
            pack_experts(folder, torch.Generator().manual_seed(seed))
        fixture = tokenizer_of(tokenizer)
        (folder / "tokenizer.json").write_text(json.dumps(fixture))
        added = {token["content"] for token in fixture["added_tokens"]}
        bos = next((text for text in ("<bos>", "<s>", "<|begin_of_text|>", "<|endoftext|>") if text in added), None)
        eos = next((text for text in ("<eos>", "</s>", "<|im_end|>", "<|endoftext|>") if text in added), None)
        template = "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": bos, "eos_token": eos, "chat_template": template}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return list(cases())


if __name__ == "__main__":
    print(gguf_models(sys.argv[1]))
