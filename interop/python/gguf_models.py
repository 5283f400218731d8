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
from decoders import randomise
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GemmaConfig,
    GraniteConfig,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
    SeedOssConfig,
    SmolLM3Config,
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
        "granite": case("gpt2", bf16, GraniteConfig, attention_multiplier=0.2, embedding_multiplier=3.0, residual_multiplier=0.4, logits_scaling=2.5, attention_bias=True, tie_word_embeddings=True),
        "seed_oss": case("gpt2", bf16, SeedOssConfig, attention_dropout=0.0, residual_dropout=0.0),
        "gemma3": case("gemma", bf16, Gemma3TextConfig, **GEMMA, num_hidden_layers=7),
    }


def gguf_models(out: str) -> list[str]:
    """Writes every case into a folder; returns their names."""
    for seed, (name, (tokenizer, dtype, config)) in enumerate(cases().items()):
        model = AutoModelForCausalLM.from_config(config)
        randomise(model, torch.Generator().manual_seed(seed))
        folder = Path(out) / name
        model.to(dtype).save_pretrained(folder)
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
