"""PEFT's other methods: an adapter of each with random parameters, and what PEFT merges it to, in the base's own dtype."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import peft.tuners.c3a.layer as c3a
import torch
from adapters import load_base
from peft.tuners.lora.intruders import reduce_intruder_dimension
from safetensors.torch import save_file


class Convolution:
    """C3A's product as its own matrix has it: the gradient of x that PEFT 0.21.2's BlockCircularConvolution returns is that of another
    matrix (its K is not reversed), so that only the last adapted layer of a model is trained by the slopes of its loss."""

    @staticmethod
    def apply(x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        return x @ c3a.get_circulant_fast(kernel).T


c3a.BlockCircularConvolution = Convolution


def rival(name: str, base: str, options: dict[str, Any], spread: float, out: str) -> None:
    """The folder `out`: an adapter of PEFT's configuration class `name`, as if it had been trained; beside it, as
    `out`.merged, the weights that PEFT merges it to."""
    model = peft.get_peft_model(load_base(Path(base)), getattr(peft, name)(**{"target_modules": "all-linear", **options}))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(spread * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(out)
    merged = peft.PeftModel.from_pretrained(load_base(Path(base)), out).merge_and_unload()
    save_file({name: tensor.clone().contiguous() for name, tensor in merged.state_dict().items()}, f"{out}.merged")


def intruders_reduced(base: str, out: str) -> None:
    """The folder `out`: a LoRA of rank 16 whose ΔW has rank 3, so that PEFT's factors hold all of what is left of it; `out`.merged:
    the weights that PEFT merges it to once intruder dimensions have been reduced."""
    model = peft.get_peft_model(load_base(Path(base)), peft.LoraConfig(r=16, target_modules="all-linear"))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter[:, :3] = 0.5 * torch.randn(parameter[:, :3].shape, generator=generator)
    model.save_pretrained(out)
    reduce_intruder_dimension(model, logging_sink=None)
    merged = model.merge_and_unload(adapter_names=["intruder_reduced"])
    save_file({name: tensor.clone().contiguous() for name, tensor in merged.state_dict().items()}, f"{out}.merged")
