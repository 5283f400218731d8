"""Make a checkpoint of 1.5 billion random parameters in bf16 (3.1 GB), shaped as Qwen2.5-1.5B is.

usage: peft_model.py OUT
"""

import sys

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, set_seed

if __name__ == "__main__":
    set_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    config = Qwen2Config(
        vocab_size=151936,
        hidden_size=1536,
        intermediate_size=8960,
        num_hidden_layers=28,
        num_attention_heads=12,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    Qwen2ForCausalLM(config).save_pretrained(sys.argv[1])
