"""PEFT makes an adapter with random, non-zero parameters; PEFT loads it, merges it; and ΔW in f64, from PEFT's own bases and parameters."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import torch
from cases import AdapterSpec
from models import DTYPES
from peft import LoraConfig, PeftModel, RandLoraConfig, get_peft_model
from peft.tuners.lora.layer import LoraLayer
from peft.tuners.randlora.layer import RandLoraLayer
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedModel


def load_base(folder: Path, dtype: torch.dtype | str = "auto") -> PreTrainedModel:
    """The model of `folder`, in the class that its config.json names (a headless one has no causal-LM head)."""
    architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
    loader = AutoModelForCausalLM if architecture.endswith(("ForCausalLM", "LMHeadModel")) else AutoModel
    return loader.from_pretrained(folder, dtype=dtype).eval()


def layers_of(model: PeftModel) -> Iterator[tuple[str, RandLoraLayer | LoraLayer]]:
    """Each adapted layer with its module path in the base model."""
    for name, module in model.named_modules():
        if isinstance(module, (RandLoraLayer, LoraLayer)):
            yield name.removeprefix("base_model.model."), module


def delta_f64(layer: RandLoraLayer | LoraLayer, adapter: str) -> torch.Tensor:
    """ΔW as it is added to the stored weight, in f64, from the layer's own parameters: LoRA's A (r, in) and B (out, r), or
    bases, λ and γ (shapes: A (r, 1, min), B (max, n, r), λ (r, n), γ (n, m))."""
    if isinstance(layer, LoraLayer):
        a, b = (part[adapter].weight.detach().double() for part in (layer.lora_A, layer.lora_B))
        delta = layer.scaling[adapter] * (b @ a)
        return (delta.T if layer.fan_in_fan_out else delta).contiguous()
    small, large = sorted((layer.in_features, layer.out_features))
    lam = layer.randlora_lambda[adapter].detach().double()
    gamma = layer.randlora_gamma[adapter].detach().double()
    r, n = lam.shape
    a = layer.randlora_A[adapter].detach().double()[:, 0, :small]
    b = layer.randlora_B[adapter].detach().double()[:large, :n, :]
    # Row k·n + j of S meets column j·r + k of B at the same flat index: PEFT's pairing.
    s = (lam[:, :, None] * a[:, None, :] * gamma[None, :, :]).reshape(r * n, small)
    delta = layer.scaling[adapter] * (b.reshape(large, n * r) @ s)
    if small != layer.in_features:
        delta = delta.T
    return (delta.T if layer.fan_in_fan_out else delta).contiguous()


def sums(layer: RandLoraLayer | LoraLayer, adapter: str) -> int:
    """Products in one element of ΔW."""
    if isinstance(layer, LoraLayer):
        return layer.r[adapter]
    return layer.randlora_lambda[adapter].numel()


def train_a_little(model: PeftModel, spec: AdapterSpec, seed: int) -> None:
    """Stand in for training: random parameters, scaled so that ||ΔW|| = ratio · ||W||; noise on all else that is trainable."""
    generator = torch.Generator().manual_seed(seed)
    noise = lambda like: torch.randn(like.shape, generator=generator, dtype=torch.float32)
    with torch.no_grad():
        for _, layer in layers_of(model):
            if isinstance(layer, LoraLayer):
                scaled = layer.lora_B[spec.name].weight
            else:
                scaled, gamma = layer.randlora_lambda[spec.name], layer.randlora_gamma[spec.name]
                gamma.copy_((1 + noise(gamma) / 2) / max(gamma.shape))
            scaled.copy_(noise(scaled))
            weight = layer.get_base_layer().weight.double()
            scaled.mul_(spec.ratio * weight.norm() / delta_f64(layer, spec.name).norm())
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "lora_" not in name:
                parameter.add_((noise(parameter) * 0.05).to(parameter.dtype))


def config_of(spec: AdapterSpec) -> RandLoraConfig | LoraConfig:
    targets = spec.targets if isinstance(spec.targets, str) else list(spec.targets)
    if spec.method == "lora":
        return LoraConfig(r=spec.r, lora_alpha=spec.alpha, target_modules=targets, **spec.options)  # type: ignore[arg-type]
    return RandLoraConfig(
        r=spec.r,
        randlora_alpha=spec.alpha,
        projection_prng_key=spec.key,
        target_modules=targets,
        sparse=spec.bases == "sparse",
        very_sparse=spec.bases == "very_sparse",
        save_projection=spec.projections != "none",
        **spec.options,  # type: ignore[arg-type]
    )


def rewrite(file: Path, spec: AdapterSpec, seed: int) -> None:
    """Bring adapter_model.safetensors, as PEFT wrote it, into the layout that `spec` asks for."""
    tensors = load_file(file)
    if spec.projections in ("pair", "foreign"):
        pair = ("base_model.randlora_A", "base_model.randlora_B")
        tensors = {k: v for k, v in tensors.items() if k in pair or not k.endswith(("randlora_A", "randlora_B"))}
        if spec.projections == "foreign":
            generator = torch.Generator().manual_seed(seed + 1)
            for name in pair:
                tensors[name] = torch.randn(tensors[name].shape, generator=generator)
    if spec.stored is not None:
        tensors = {name: tensor.to(DTYPES[spec.stored]) for name, tensor in tensors.items()}
    save_file(tensors, file, metadata={"format": "pt"})


def strip_prefix(file: Path) -> None:
    """Leave "base_model.model." out of the names: such files exist, though PEFT 0.21.2 no longer finds their tensors."""
    tensors = {name.removeprefix("base_model.model."): tensor for name, tensor in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})


def write_adapter(base: Path, spec: AdapterSpec, folder: Path) -> Path:
    """Make the adapter `spec` on `base`; returns the folder that holds adapter_config.json."""
    seed = zlib.crc32(repr(spec).encode())
    model = get_peft_model(load_base(base), config_of(spec), adapter_name=spec.name)
    train_a_little(model, spec, seed)
    model.save_pretrained(folder)
    written = folder if spec.name == "default" else folder / spec.name
    rewrite(written / "adapter_model.safetensors", spec, seed)
    return written


def load_adapter(model: PreTrainedModel, folder: Path, name: str, scale: float) -> PeftModel:
    """PEFT's own loading; `scale` multiplies alpha / r, as `--scale` does."""
    loaded = PeftModel.from_pretrained(model, folder, adapter_name=name).eval()
    for _, layer in layers_of(loaded):
        layer.scaling[name] *= scale
    return loaded
