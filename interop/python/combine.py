"""PEFT's LoRA of another adapter's ΔW, and PEFT's combinations of several ΔW."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from adapters import delta_f64, layers_of, load_base
from peft import PeftModel, convert_to_lora
from peft.utils import merge_utils
from safetensors.torch import save_file


def lora_of(base: str, adapter: str, rank: float, out: str) -> dict[str, float]:
    """`out` gets B·A of PEFT's conversion, which decomposes in f32 (`MODULE.delta`, f64), and of numpy's in f64
    (`MODULE.exact`); the answer is, by module, the part of ‖ΔW‖² that so many singular values have by numpy's."""
    model = PeftModel.from_pretrained(load_base(Path(base)), adapter).eval()
    _, state = convert_to_lora(model, rank)
    deltas, kept = {}, {}
    for path, layer in layers_of(model):
        a, b = (state[f"base_model.model.{path}.lora_{side}.weight"].double() for side in "AB")
        # As the weight is stored.
        deltas[f"{path}.delta"] = ((b @ a).T if getattr(layer, "fan_in_fan_out", False) else b @ a).contiguous()
        u, s, v = np.linalg.svd(delta_f64(layer, "default").numpy(), full_matrices=False)
        deltas[f"{path}.exact"] = torch.from_numpy((u[:, : len(a)] * s[: len(a)]) @ v[: len(a)])
        kept[path] = float((s[: len(a)] ** 2).sum() / (s**2).sum())
    save_file(deltas, out)
    return kept


def combined(
    base: str, adapters: list[str], weights: list[float], how: str, density: float, majority_sign: str | None, out: str
) -> None:
    """`out` gets, by module, what `how` of peft.utils.merge_utils makes of the adapters' ΔW (`MODULE.delta`)."""
    tensors: dict[str, list[tuple[torch.Tensor, float]]] = {}
    for adapter, weight in zip(adapters, weights):
        model = PeftModel.from_pretrained(load_base(Path(base)), adapter).eval()
        for path, layer in layers_of(model):
            tensors.setdefault(path, []).append((delta_f64(layer, "default"), weight))
    more = {} if majority_sign is None else {"majority_sign_method": majority_sign}
    deltas = {}
    for path, parts in tensors.items():
        known = torch.tensor([weight for _, weight in parts], dtype=torch.float64)
        made = getattr(merge_utils, how)([delta for delta, _ in parts], known, density=density, **more)
        deltas[f"{path}.delta"] = made.contiguous()
    save_file(deltas, out)
