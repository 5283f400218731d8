"""Tiny base models with every shape that matters, written as Hugging Face folders."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def llama(**overrides: object) -> LlamaForCausalLM:
    """q and o square (128, 128); k and v wide (32, 128), out < in; up and gate tall (320, 128); down wide (128, 320)."""
    settings: dict[str, object] = dict(
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=2,
        vocab_size=256,
        max_position_embeddings=128,
        initializer_range=0.05,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(LlamaConfig(**{**settings, **overrides}))


def qwen2() -> Qwen2ForCausalLM:
    """Has biases on q, k and v."""
    return Qwen2ForCausalLM(
        Qwen2Config(
            hidden_size=96,
            intermediate_size=224,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            vocab_size=200,
            max_position_embeddings=128,
            initializer_range=0.05,
            tie_word_embeddings=True,
        )
    )


def gpt2_config() -> GPT2Config:
    """Conv1D weights are (in, out): c_attn (96, 288), c_fc (96, 384), mlp.c_proj (384, 96), attn.c_proj square."""
    return GPT2Config(n_embd=96, n_layer=2, n_head=6, vocab_size=160, n_positions=64, initializer_range=0.05)


BASES = {
    "llama": llama,
    "llama-tied": lambda: llama(tie_word_embeddings=True),
    # min(out, in) = 1152: more than 1024 products in one sum, and room for row blocks.
    "llama-wide": lambda: llama(
        hidden_size=1152, intermediate_size=1344, num_hidden_layers=1, num_attention_heads=12, num_key_value_heads=4
    ),
    "qwen2": qwen2,
    "gpt2": lambda: GPT2LMHeadModel(gpt2_config()),
    "gpt2-headless": lambda: GPT2Model(gpt2_config()),
}


def write_base(kind: str, dtype: str, folder: Path, shard_size: str | None) -> None:
    """Write the model `kind` in `dtype`, with the small files that a real model folder has beside its weights."""
    torch.manual_seed(sum(kind.encode()))
    model: PreTrainedModel = BASES[kind]()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Fresh biases are zeros and fresh norms are ones: give every tensor values that a mix-up would show.
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    model.to(DTYPES[dtype]).save_pretrained(folder, **({"max_shard_size": shard_size} if shard_size else {}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 64}) + "\n")
    (folder / "NOTICE.txt").write_text("Random numbers. Free to use.\n")
