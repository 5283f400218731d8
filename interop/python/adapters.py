"""PEFT makes an adapter with random, non-zero parameters; PEFT loads it, merges it; and ΔW in f64, from PEFT's own bases and parameters."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from cases import AdapterSpec
from models import DTYPES
from peft import LoraConfig, PeftConfig, PeftModel, RandLoraConfig, VeraConfig, get_peft_model
from peft.tuners.lora.layer import LoraLayer
from peft.tuners.randlora.layer import RandLoraLayer
from peft.tuners.vera.layer import VeraLayer
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel


Layer = RandLoraLayer | LoraLayer | VeraLayer
BASES = ("randlora_A", "randlora_B", "vera_A", "vera_B")
"""How names of random bases end."""


def load_base(folder: Path, dtype: torch.dtype | str = "auto") -> PreTrainedModel:
    """The model of `folder`, in the class that its config.json names (a headless one has no causal-LM head)."""
    architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
    text = AutoModelForCausalLM if architecture.endswith(("ForCausalLM", "LMHeadModel")) else AutoModel
    loader = AutoModelForImageTextToText if architecture.endswith("ForConditionalGeneration") else text
    # Its other products of experts refuse sizes that are no multiples of 4.
    return loader.from_pretrained(folder, dtype=dtype, experts_implementation="eager").eval()


def layers_of(model: PeftModel) -> Iterator[tuple[str, Layer]]:
    """Each adapted layer with its module path in the base model."""
    for name, module in model.named_modules():
        if isinstance(module, Layer):
            yield name.removeprefix("base_model.model."), module


def delta_f64(layer: Layer, adapter: str) -> torch.Tensor:
    """ΔW as it is added to the stored weight, in f64, from the layer's own parameters: LoRA's A (r, in) and B (out, r);
    VeRA's with its vectors; or bases, λ and γ (shapes: A (r, 1, min), B (max, n, r), λ (r, n), γ (n, m))."""
    if isinstance(layer, LoraLayer):
        a, b = (part[adapter].weight.detach().double() for part in (layer.lora_A, layer.lora_B))
        delta = layer.scaling[adapter] * (b @ a)
        return (delta.T if layer.fan_in_fan_out else delta).contiguous()
    if isinstance(layer, VeraLayer):
        a, b = (part[adapter].detach().double() for part in (layer.vera_A, layer.vera_B))
        d, out = (part[adapter].detach().double() for part in (layer.vera_lambda_d, layer.vera_lambda_b))
        delta = out[:, None] * (b[: layer.out_features] @ (d[:, None] * a[:, : layer.in_features]))
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


def change_f64(layer: Layer, adapter: str, onto: torch.Tensor) -> torch.Tensor:
    """What merging adds to `onto`, as stored: ΔW; or, with DoRA's m, m / ‖W + ΔW‖ · (onto + ΔW) − onto, where W is the layer's
    own weight, and norms are those of the rows of (out, in)."""
    delta = delta_f64(layer, adapter)
    if not getattr(layer, "use_dora", {}).get(adapter):
        return delta
    along = 0 if layer.fan_in_fan_out else 1
    norms = (layer.get_base_layer().weight.detach().double() + delta).norm(dim=along)
    factors = (layer.lora_magnitude_vector[adapter].weight.detach().double() / norms).unsqueeze(along)
    return factors * (onto + delta) - onto


def sums(layer: Layer, adapter: str) -> int:
    """Products in one element of ΔW."""
    if isinstance(layer, (LoraLayer, VeraLayer)):
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
            elif isinstance(layer, VeraLayer):
                scaled, vector = layer.vera_lambda_b[spec.name], layer.vera_lambda_d[spec.name]
                vector.copy_(1 + noise(vector) / 2)
            else:
                scaled, gamma = layer.randlora_lambda[spec.name], layer.randlora_gamma[spec.name]
                gamma.copy_((1 + noise(gamma) / 2) / max(gamma.shape))
            scaled.copy_(noise(scaled))
            weight = layer.get_base_layer().weight.double()
            scaled.mul_(spec.ratio * weight.norm() / delta_f64(layer, spec.name).norm())
            if spec.method == "dora":
                magnitude = layer.lora_magnitude_vector[spec.name].weight
                magnitude.mul_(1 + 0.1 * noise(magnitude))
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "lora_" not in name and "vera_" not in name:
                parameter.add_((noise(parameter) * 0.05).to(parameter.dtype))


def config_of(spec: AdapterSpec) -> PeftConfig:
    targets = spec.targets if isinstance(spec.targets, str) else list(spec.targets)
    if spec.method in ("lora", "dora"):
        options = {"use_dora": spec.method == "dora", **spec.options}
        return LoraConfig(r=spec.r, lora_alpha=spec.alpha, target_modules=targets, **options)  # type: ignore[arg-type]
    if spec.method == "vera":
        return VeraConfig(
            r=spec.r,
            projection_prng_key=spec.key,
            target_modules=targets,
            save_projection=spec.projections != "none",
            **spec.options,  # type: ignore[arg-type]
        )
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
        pair = tuple(f"base_model.{spec.method}_{side}" for side in "AB")
        tensors = {k: v for k, v in tensors.items() if k in pair or not k.endswith(BASES)}
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
    """PEFT's own loading; `scale` multiplies alpha / r, or what stands in for it, as `--scale` does."""
    loaded = PeftModel.from_pretrained(model, folder, adapter_name=name).eval()
    for _, layer in layers_of(loaded):
        if isinstance(layer, VeraLayer):
            with torch.no_grad():
                layer.vera_lambda_b[name] *= scale
        else:
            layer.scaling[name] *= scale
    return loaded


def load_adapters(model: PreTrainedModel, folders: Sequence[Path], scales: Sequence[float]) -> tuple[PeftModel, list[str]]:
    """Several LoRA adapters in one PeftModel, and their names there."""
    names = [f"number{i}" for i in range(len(folders))]
    loaded = PeftModel.from_pretrained(model, folders[0], adapter_name=names[0])
    for folder, name in zip(folders[1:], names[1:]):
        loaded.load_adapter(folder, name)
    for _, layer in layers_of(loaded):
        for name, scale in zip(names, scales):
            if name in layer.scaling:
                layer.scaling[name] *= scale
    return loaded.eval(), names
