"""One case: the base, the adapters, what PEFT merges them to, and the exact result in f64."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from adapters import change_f64, delta_f64, layers_of, load_adapter, load_adapters, load_base, strip_prefix, sums, write_adapter
from cases import CASES, AdapterSpec, CaseSpec
from models import DTYPES, write_base
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel


def checkpoint(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a (perhaps sharded) checkpoint."""
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def peft_merge(base: Path, adapters: Sequence[Path], specs: Sequence[AdapterSpec], scales: Sequence[float], safe: bool):
    """PEFT's merge_and_unload, adapter after adapter: two RandLoRA adapters in one PeftModel overwrite each other's bases. DoRA
    takes the norms of the unmerged base, which only adapters of one PeftModel know."""
    model = load_base(base)
    if len(specs) > 1 and any(spec.method == "dora" for spec in specs):
        together, names = load_adapters(model, adapters, scales)
        return together.merge_and_unload(safe_merge=safe, adapter_names=names)
    for folder, spec, scale in zip(adapters, specs, scales):
        model = load_adapter(model, folder, spec.name, scale).merge_and_unload(safe_merge=safe)
    return model


def exact_weights(
    base: Path, adapters: Sequence[Path], specs: Sequence[AdapterSpec], scales: Sequence[float]
) -> tuple[dict[str, torch.Tensor], dict[str, dict[str, float]], dict[str, torch.Tensor]]:
    """W + Σ ΔW in f64 by tensor name, statistics of each, and the trained modules and biases that replace the base's."""
    stored = checkpoint(base)
    tied = stored.get("model.embed_tokens.weight")
    deltas: dict[str, torch.Tensor] = {}
    products: dict[str, int] = {}
    replaced: dict[str, torch.Tensor] = {}
    for folder, spec, scale in zip(adapters, specs, scales):
        model = load_adapter(load_base(base), folder, spec.name, scale)
        adapted = set()
        for path, layer in layers_of(model):
            name = f"{path}.weight"
            delta = delta_f64(layer, spec.name)
            shown = layer.get_delta_weight(spec.name).double()
            worst = (shown - delta).abs().max() / delta.abs().max()
            assert worst < 1e-4, f"{name}: this file's ΔW is not PEFT's ({worst})"
            before = deltas.get(name, torch.zeros_like(delta))
            deltas[name] = before + change_f64(layer, spec.name, (tied if name not in stored else stored[name]).double() + before)
            products[name] = products.get(name, 0) + sums(layer, spec.name)
            adapted.add(name)
        merged = model.merge_and_unload()
        for name, tensor in merged.state_dict().items():
            if name in stored and name not in deltas and not torch.equal(tensor, stored[name]):
                replaced[name] = tensor.clone()
        replaced |= untied_head(merged, {*stored, *deltas})
    if "lm_head.weight" in deltas and "lm_head.weight" not in stored:
        stored["lm_head.weight"] = tied
        replaced.pop("model.embed_tokens.weight", None)  # PEFT's merge changes the embedding too: not followed
    exact, statistics = {}, {}
    for name, delta in deltas.items():
        weight = stored[name].double()
        exact[name] = weight + delta
        statistics[name] = {
            "max_delta": delta.abs().max().item(),
            # What f32 sums are made of: where a weight is rescaled, of the weight itself.
            "largest": (exact[name] if any(spec.method == "dora" for spec in specs) else delta).abs().max().item(),
            "ratio": (delta.norm() / weight.norm()).item(),
            "products": products[name],
        }
    return exact, statistics, replaced


def untied_head(model: PreTrainedModel, known: set[str]) -> dict[str, torch.Tensor]:
    """A tied head that `known` lacks, where the embedding beside it was trained (modules_to_save): it keeps its values."""
    head = model.get_output_embeddings()
    if head is None or "lm_head.weight" in known or torch.equal(head.weight, model.get_input_embeddings().weight):
        return {}
    return {"lm_head.weight": head.weight.detach().clone()}


def logits_of(model: PreTrainedModel) -> torch.Tensor:
    """Outputs for a fixed row of ids, in f64 arithmetic: (16, vocabulary), or hidden states of a headless model."""
    ids = (torch.arange(16) * 37 + 11) % model.config.vocab_size
    with torch.no_grad():
        return model.double()(ids[None], use_cache=False)[0][0]


def exact_logits(base: Path, exact: dict[str, torch.Tensor], replaced: dict[str, torch.Tensor]) -> torch.Tensor:
    """Outputs of the model that holds the exact weights, in f64."""
    model = load_base(base, torch.float64)
    weights = {**exact, **{k: v.double() for k, v in replaced.items()}}
    if "lm_head.weight" in weights:
        model.lm_head.weight = torch.nn.Parameter(weights["lm_head.weight"])  # no longer the embedding's
    model.load_state_dict(weights, strict=False)
    return logits_of(model)


def make(name: str, spec: CaseSpec, base: Path, work: Path, safe_too: bool = True) -> dict[str, Any]:
    """Everything that a test needs to judge a merge; tensors go to files, the answer is JSON."""
    folder = work / name
    shutil.rmtree(folder, ignore_errors=True)
    specs, scales = spec.adapters, spec.scales or (1.0,) * len(spec.adapters)
    adapters = [write_adapter(base, adapter, folder / f"adapter-{i}") for i, adapter in enumerate(specs)]
    exact, statistics, replaced = exact_weights(base, adapters, specs, scales)
    save_file(exact, folder / "exact.safetensors")
    save_file(replaced, folder / "replaced.safetensors")
    logits = {"exact": exact_logits(base, exact, replaced)}
    for safe in (False, True) if safe_too else (False,):
        merged = peft_merge(base, adapters, specs, scales, safe)
        if spec.out_dtype:
            merged = merged.to(DTYPES[spec.out_dtype])
        merged.save_pretrained(folder / ("peft-safe" if safe else "peft"))
        if not safe:
            logits["peft"] = logits_of(merged)
    save_file(logits, folder / "logits.safetensors")
    for adapter, settings in zip(adapters, specs):
        if not settings.prefix:
            strip_prefix(adapter / "adapter_model.safetensors")
    unknown = [a for a in specs if a.method == "randlora" and a.projections == "none" and a.bases == "dense"]
    # RandLoRA rounds ΔW first in a plain merge, LoRA in a safe one, DoRA and VeRA in neither.
    once = "peft-safe" if specs[0].method == "randlora" else "peft"
    return {
        "name": name,
        "folder": str(folder),
        "base": str(base),
        "adapters": [str(a) for a in adapters],
        "scales": list(spec.scales),
        "dtype": spec.out_dtype or spec.dtype,
        "base_dtype": spec.dtype,
        "out_dtype": spec.out_dtype,
        "generator": "torch-mt19937-bf16-v2" if unknown else None,
        "statistics": statistics,
        "once": once,
        "rebuilds": any(spec.method == "dora" for spec in specs[1:]),
        "unties": "lm_head.weight" in {*exact, *replaced} and "lm_head.weight" not in checkpoint(base),
    }


def make_case(name: str, work: Path) -> dict[str, Any]:
    """A case of the table, on its tiny base (written once for all cases that share it)."""
    spec = CASES[name]
    base = work / "bases" / "-".join(filter(None, (spec.base, spec.dtype, spec.shard_size)))
    if not base.exists():
        write_base(spec.base, spec.dtype, base, spec.shard_size)
    return make(name, spec, base, work)


def make_real_case(name: str, base: Path, dtype: str, work: Path) -> dict[str, Any]:
    """An adapter on a real checkpoint: r = 16 on q, k, v, up, down, bases saved as PEFT saves them. No peft-safe here: on
    tiny models it shows that the f64 results are right, and a large one would add nothing but minutes."""
    return make(name, CaseSpec("", dtype, (AdapterSpec(projections="copies", key=1),)), base, work, safe_too=False)
