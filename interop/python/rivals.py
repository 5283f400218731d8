"""PEFT's other methods: an adapter of each with random parameters, and what PEFT merges it to, in the base's own dtype."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import torch
from adapters import load_base
from safetensors.torch import save_file


def rival(name: str, base: str, options: dict[str, Any], spread: float, out: str) -> None:
    """The folder `out`: an adapter of PEFT's configuration class `name`, as if it had been trained; beside it, as
    `out`.merged, the weights that PEFT merges it to."""
    model = peft.get_peft_model(load_base(Path(base)), getattr(peft, name)(target_modules="all-linear", **options))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(spread * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(out)
    merged = peft.PeftModel.from_pretrained(load_base(Path(base)), out).merge_and_unload()
    save_file({name: tensor.clone().contiguous() for name, tensor in merged.state_dict().items()}, f"{out}.merged")
