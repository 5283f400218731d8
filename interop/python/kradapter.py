"""KRAdapter from its definition (Albert et al., arXiv:2508.00230), which PEFT has not: ΔW in f64 by numpy, layers by torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

PREFIX = "base_model.model."


def settings_of(adapter: str) -> dict[str, Any] | None:
    """An adapter folder's configuration, where it is a KRAdapter."""
    config = json.loads((Path(adapter) / "adapter_config.json").read_text())
    return config if config["peft_type"] == "KRADAPTER" else None


def factors_of(adapter: str) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """U and V by the path of their module."""
    stored = load_file(Path(adapter) / "adapter_model.safetensors")
    paths = [name.removesuffix(".kradapter_U") for name in stored if name.endswith(".kradapter_U")]
    return {path.removeprefix(PREFIX): (stored[f"{path}.kradapter_U"], stored[f"{path}.kradapter_V"]) for path in paths}


def kradapter_merged(base: str, adapter: str, out: str) -> None:
    """`out` gets W + α/r · (U ⊙ V) in f64, by the weight's name: column j of the product is the Kronecker product of theirs."""
    config = json.loads((Path(adapter) / "adapter_config.json").read_text())
    weights = {name: w for file in Path(base).glob("*.safetensors") for name, w in load_file(file).items()}
    merged = {}
    for path, (u, v) in factors_of(adapter).items():
        weight = weights[f"{path}.weight"].double().numpy()
        columns = [np.kron(a, b) for a, b in zip(u.double().numpy().T, v.double().numpy().T)]
        product = np.stack(columns, axis=1)[: max(weight.shape)]
        delta = product if weight.shape[0] >= weight.shape[1] else product.T
        merged[f"{path}.weight"] = torch.from_numpy(weight + config["alpha"] / config["r"] * delta)
    save_file({name: tensor.contiguous() for name, tensor in merged.items()}, out)


class KhatriRao(torch.nn.Module):
    """A linear layer whose ΔW is formed of two trained matrices; autograd does the rest."""

    def __init__(self, base: torch.nn.Linear, u: torch.Tensor, v: torch.Tensor, scale: float) -> None:
        super().__init__()
        self.base, self.scale = base, scale
        self.kradapter_U, self.kradapter_V = torch.nn.Parameter(u), torch.nn.Parameter(v)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out, size = self.base.weight.shape
        product = torch.einsum("aj,bj->abj", self.kradapter_U, self.kradapter_V).flatten(0, 1)[: max(out, size)]
        return self.base(x) + self.scale * torch.nn.functional.linear(x, product if out >= size else product.T)


def with_kradapter(model: torch.nn.Module, adapter: str, config: dict[str, Any]) -> torch.nn.Module:
    """The model with its adapted layers, which alone are trained; parameters have the names of the file."""
    model.requires_grad_(False)
    for path, (u, v) in factors_of(adapter).items():
        parent, _, name = path.rpartition(".")
        module = model.get_submodule(parent)
        setattr(module, name, KhatriRao(getattr(module, name), u, v, config["alpha"] / config["r"]))
    return model
