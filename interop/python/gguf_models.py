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
from decoders import VISION, of_config, randomise
from transformers import (
    Cohere2Config,
    Exaone4Config,
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GPT2Config,
    GemmaConfig,
    Glm4Config,
    GraniteConfig,
    GraniteMoeConfig,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    Olmo3Config,
    OlmoeConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
    SeedOssConfig,
    SmolLM3Config,
    Starcoder2Config,
)

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
OLMO3_ROPES = {
    "full_attention": {"rope_type": "yarn", "rope_theta": 500000.0, "factor": 4.0, "original_max_position_embeddings": 64},
    "sliding_attention": {"rope_type": "default", "rope_theta": 500000.0},
}
GEMMA = {"query_pre_attn_scalar": 16, "sliding_window": 32, "tie_word_embeddings": True}


def rope(kind: str, theta: float = 10000.0, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **more}}


def cases() -> dict[str, tuple[str, torch.dtype, PreTrainedConfig]]:
    """The tokenizer, the weights' dtype, the configuration."""

    def case(tokenizer: str, dtype: torch.dtype, config: type[PreTrainedConfig], **settings: Any):
        return tokenizer, dtype, config(**{**SIZES, **settings})

    bf16, f16, f32 = torch.bfloat16, torch.float16, torch.float32
    return {
        "llama": case("gpt2", f32, LlamaConfig, attention_bias=True, mlp_bias=True),
        "llama2": case("llama2", bf16, LlamaConfig, tie_word_embeddings=True),
        "llama3": case("llama3", bf16, LlamaConfig, num_key_value_heads=4, **rope("llama3", 500000.0, **LLAMA3_ROPE)),
        "llama-linear": case("gpt4o", bf16, LlamaConfig, **rope("linear", factor=2.0)),
        "llama-yarn": case("gpt2", f32, LlamaConfig, **rope("yarn", factor=4.0, original_max_position_embeddings=64)),
        "llama-odd": case("gpt2", bf16, LlamaConfig, intermediate_size=90, head_dim=20),
        "mistral": case("mistral", f16, MistralConfig, sliding_window=None),
        "qwen2": case("qwen2", bf16, Qwen2Config, tie_word_embeddings=True),
        "qwen3": case("qwen2", bf16, Qwen3Config, head_dim=32),
        "phi3": case("phi3", f32, Phi3Config, pad_token_id=0, sliding_window=None),
        "phi3-longrope": case("gpt4o", bf16, Phi3Config, pad_token_id=0, max_position_embeddings=1024, original_max_position_embeddings=256, **rope("longrope", **LONG_FACTORS)),
        "gemma2": case("gemma", bf16, Gemma2Config, **GEMMA),
        "gemma": case("gemma", bf16, GemmaConfig, tie_word_embeddings=True),
        "olmo2": case("gpt2", bf16, Olmo2Config),
        "smollm3": case("llama3", bf16, SmolLM3Config, pad_token_id=0, num_hidden_layers=4, tie_word_embeddings=True),
        "granite": case("gpt2", bf16, GraniteConfig, **GRANITE, attention_bias=True, tie_word_embeddings=True),
        "seed_oss": case("gpt2", bf16, SeedOssConfig, attention_dropout=0.0, residual_dropout=0.0),
        "gemma3": case("gemma", bf16, Gemma3TextConfig, **GEMMA, num_hidden_layers=7),
        "gemma3-images": ("gemma", bf16, Gemma3Config(text_config={**SIZES, **GEMMA, "num_hidden_layers": 6}, vision_config=VISION, mm_tokens_per_image=4)),
        "olmo3": case("gpt2", bf16, Olmo3Config, num_hidden_layers=4, sliding_window=32, rope_parameters=OLMO3_ROPES),
        "exaone4": case("gpt2", bf16, Exaone4Config, sliding_window=None, layer_types=["full_attention"] * 2, **rope("llama3", 500000.0, **LLAMA3_ROPE)),
        "exaone4-windows": case("gpt2", f32, Exaone4Config, sliding_window=16, num_hidden_layers=64, hidden_size=16, intermediate_size=16, head_dim=4),
        "starcoder2": case("gpt2", bf16, Starcoder2Config, sliding_window=None, use_bias=True, tie_word_embeddings=True),
        "glm4": case("gpt2", bf16, Glm4Config, pad_token_id=0, attention_bias=True),
        "cohere2": case("gpt2", bf16, Cohere2Config, pad_token_id=0, num_hidden_layers=4, sliding_window=16, logit_scale=0.5, tie_word_embeddings=True),
        "lfm2": case("gpt2", bf16, Lfm2Config, layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False, tie_word_embeddings=True),
        "mixtral": case("llama2", bf16, MixtralConfig, num_local_experts=4, num_experts_per_tok=2, sliding_window=None),
        "mixtral-fused": case("llama2", bf16, MixtralConfig, num_local_experts=4, num_experts_per_tok=2, sliding_window=None),
        "qwen3_moe": case("qwen2", bf16, Qwen3MoeConfig, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, norm_topk_prob=True),
        "olmoe": case("gpt2", bf16, OlmoeConfig, num_key_value_heads=4, num_experts=8, num_experts_per_tok=2, intermediate_size=32),
        "granitemoe": case("gpt2", bf16, GraniteMoeConfig, **GRANITE, num_local_experts=4, num_experts_per_tok=2),
        "gpt2": case("gpt2", f16, GPT2Config, n_inner=256, tie_word_embeddings=True),
    }


def gguf_models(out: str) -> list[str]:
    """Writes every case into a folder; returns their names."""
    for seed, (name, (tokenizer, dtype, config)) in enumerate(cases().items()):
        model = of_config(config)
        randomise(model, torch.Generator().manual_seed(seed))
        folder = Path(out) / name
        model.to(dtype).save_pretrained(folder, save_original_format="fused" not in name)
        fixture = json.loads((TOKENIZERS / f"{tokenizer}.json").read_text())["tokenizer"]
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
