"""Make a benchmark's adapter on q, k, v, up and down: λ and γ random, ΔW small.

usage: peft_make.py BASE OUT RANK dense|sparse|very_sparse saved|redrawn
"""

import sys

import torch
from peft import RandLoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, set_seed

TARGETS = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]

if __name__ == "__main__":
    base, out, rank, bases, kept = sys.argv[1:6]
    set_seed(0)
    config = RandLoraConfig(
        r=int(rank),
        randlora_alpha=20 * int(rank),
        target_modules=TARGETS,
        sparse=bases == "sparse",
        very_sparse=bases == "very_sparse",
        save_projection=kept == "saved",
    )
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype="auto"), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "randlora_lambda" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.01)
            elif "randlora_gamma" in name:
                parameter.copy_((1 + torch.randn_like(parameter) / 2) / max(parameter.shape))
    model.save_pretrained(out)
