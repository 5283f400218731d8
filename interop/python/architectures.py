"""What transformers and PEFT make of the rows of decoders.py, which take the walk of architectures.interop.test.ts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from adapters import load_base
from decoders import ROWS, eager, of_config, randomise, row_config
from experts import apart, joined
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

LENGTHS = {"short": (7, 64), "long": (75, 8)}
"""Tokens of the prompts, and of what is decoded greedily: the long one goes beyond every window, and the other comes there."""


def architecture_rows() -> list[str]:
    return list(ROWS)


def make_architecture(name: str, out: str) -> dict[str, Any]:
    """Write the model of a row to the folder `out`. Its prompts, and the tokens after each; the logits of all positions go to
    OUT/expected.safetensors by the prompts' names."""
    generator = torch.Generator().manual_seed(len(name))
    model = of_config(row_config(name))
    randomise(model, generator)
    model.save_pretrained(out)
    if name == "qwen3_vl_moe":
        published_experts(Path(out))
    prompts, logits = {}, {}
    for prompt, (length, count) in LENGTHS.items():
        ids = torch.randint(2, 512, (1, length), generator=generator)
        # RoPE that follows the length keeps what it came to.
        loaded = eager(out)
        with torch.no_grad():
            logits[prompt] = loaded(ids).logits[0].contiguous()
            made = loaded.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False)
        prompts[prompt] = {"ids": ids[0].tolist(), "greedy": made[0, length:].tolist()}
    save_file(logits, f"{out}/expected.safetensors")
    return prompts


def fused_architecture(base: str, out: str) -> None:
    """`out` gets the model with the tensors that transformers has in memory: one of all experts."""
    eager(base).save_pretrained(out, save_original_format=False)


def expert_adapter(base: str, modules: list[str], parameters: list[str], out: str) -> None:
    """`out` gets a LoRA of random values of these modules and parameters; one parameter has another rank."""
    torch.manual_seed(0)
    pattern = {parameters[0]: 2}
    config = LoraConfig(r=3, lora_alpha=5, rank_pattern=pattern, target_modules=modules, target_parameters=parameters, init_lora_weights=False)
    get_peft_model(load_base(Path(base), torch.float32), config).save_pretrained(out)


def merged_architecture(base: str, adapter: str, out: str, fused: bool = False) -> None:
    """`out` gets PEFT's merge of an adapter, tensor by tensor; `fused`: with tensors of all experts."""
    loaded = load_base(Path(base), torch.float32)
    apart(loaded, adapter)
    model = PeftModel.from_pretrained(loaded, adapter).merge_and_unload()
    joined(model)
    model.save_pretrained(out, save_original_format=not fused)
    if model.config.model_type == "qwen3_vl_moe" and not fused:
        published_experts(Path(out))


def published_experts(folder: Path) -> None:
    """Rewrite Qwen3-VL MoE's experts as the published ones are: transposed."""
    path = folder / "model.safetensors"
    tensors = {name: tensor.mT.contiguous() if ".experts." in name else tensor for name, tensor in load_file(path).items()}
    save_file(tensors, path, {"format": "pt"})


def published_gpt2(path: Path) -> None:
    """Rewrite the weights as the published ones are: no prefix, and causal masks beside them."""
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in load_file(path).items()}
    for name in [name for name in tensors if name.endswith(".attn.c_attn.weight")]:
        tensors[name.replace("c_attn.weight", "bias")] = torch.ones(4, 4).tril()[None, None]
    save_file(tensors, path, {"format": "pt"})


def older_config(folder: str) -> None:
    """Rewrite config.json as transformers 4 had it: RoPE at the top, `torch_dtype`."""
    path = Path(folder) / "config.json"
    whole = json.loads(path.read_text())
    settings = whole.get("text_config", whole)
    rope = settings.pop("rope_parameters", None) or {}
    kinds = {"full_attention", "sliding_attention"}
    full = rope.get("full_attention", {} if rope.keys() & kinds else rope) or {}
    sliding = rope.get("sliding_attention")
    scaling = {name: value for name, value in full.items() if name not in ("rope_theta", "partial_rotary_factor")}
    settings["rope_theta"] = full.get("rope_theta")
    if "partial_rotary_factor" in full:
        settings["partial_rotary_factor"] = full["partial_rotary_factor"]
    settings["rope_scaling"] = scaling if scaling.get("rope_type", "default") != "default" else None
    if sliding is not None and settings["model_type"].startswith("gemma3"):
        settings["rope_local_base_freq"] = sliding.get("rope_theta")
    if settings["model_type"] == "granitemoehybrid":
        settings["layer_types"] = ["attention" for _ in settings["layer_types"]]
    if settings["model_type"] == "gpt2":
        published_gpt2(Path(folder) / "model.safetensors")
    whole["torch_dtype"] = whole.pop("dtype", "float32")
    whole["transformers_version"] = "4.57.0"
    path.write_text(json.dumps(whole))
