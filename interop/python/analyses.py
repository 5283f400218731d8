"""The two analyses of `randlora analyze`, plainly: numpy on transformers' activations, and PyTorch's losses of mixed weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from training import Sample, load_trained, mean_nll, read_samples

Array = np.ndarray
ENDS = ("self_attn.o_proj", "mlp.down_proj")


def variant(base: str, given: str) -> torch.nn.Module:
    """A model's folder, or the base with an adapter's, in f32."""
    is_model = (Path(given) / "config.json").exists()
    return load_trained(given, {}, None) if is_model else load_trained(base, {}, given)


def activations(model: torch.nn.Module, samples: list[Sample]) -> dict[str, Array]:
    """By module: (samples, width), the mean over a sample's tokens of what the module gives."""
    rows: dict[str, list[Array]] = {}
    hooks = []
    for name, module in model.named_modules():
        if name.endswith(ENDS):
            name = name.removeprefix("base_model.model.")

            def hook(_module: object, _inputs: object, output: torch.Tensor, name: str = name) -> None:
                rows.setdefault(name, []).append(output[0].double().mean(0).numpy())

            hooks.append(module.register_forward_hook(hook))
    with torch.no_grad():
        for sample in samples:
            model(input_ids=torch.tensor([sample.ids]), use_cache=False)
    for one in hooks:
        one.remove()
    return {name: np.stack(found) for name, found in rows.items()}


def full(x: Array, y: Array) -> float:
    x, y = x - x.mean(0), y - y.mean(0)
    norm = np.linalg.norm
    return float(norm(y.T @ x) ** 2 / (norm(x.T @ x) * norm(y.T @ y)))


def hsic1(k: Array, l: Array) -> float:
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))
    one = np.ones(n)
    mixed = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    return float((np.trace(k @ l) + mixed - 2 / (n - 2) * (one @ k @ l @ one)) / (n * (n - 3)))


def minibatch(x: Array, y: Array, batch: int) -> float:
    parts = [(x[i : i + batch], y[i : i + batch]) for i in range(0, len(x), batch) if len(x) - i >= 4]
    total = lambda of: sum(of(a @ a.T, b @ b.T) for a, b in parts)
    return total(hsic1) / float(np.sqrt(total(lambda k, _: hsic1(k, k)) * total(lambda _, l: hsic1(l, l))))


def cka(base: str, data: str, length: int, reference: str, adapters: list[str], batch: int) -> dict[str, dict[str, list[float]]]:
    """By module, by estimator: linear CKA of each adapter with the reference."""
    samples = read_samples(Path(base), data, {"max-length": length})
    known = activations(variant(base, reference), samples)
    others = [activations(variant(base, adapter), samples) for adapter in adapters]
    return {
        name: {
            "full": [full(x, other[name]) for other in others],
            "minibatch": [minibatch(x, other[name], batch) for other in others],
        }
        for name, x in known.items()
    }


def weights_f64(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Every weight, with an adapter's ΔW added."""
    merged = model.merge_and_unload() if isinstance(model, PeftModel) else model
    return {name: tensor.double() for name, tensor in merged.state_dict().items()}


def plane(base: str, data: str, length: int, corners: list[str], points: list[list[float]]) -> list[float]:
    """The mean loss at W0 + aΔA + bΔB + cΔC, summed in f64, for points (a, b, c)."""
    samples = read_samples(Path(base), data, {"max-length": length})
    model = load_trained(base, {}, None)
    origin = weights_f64(model)
    ends = [weights_f64(variant(base, corner)) for corner in corners]

    def losses() -> Iterator[float]:
        for shares in points:
            mixed = {
                name: (w0 + sum(share * (end[name] - w0) for share, end in zip(shares, ends))).float()
                for name, w0 in origin.items()
            }
            model.load_state_dict(mixed)
            yield mean_nll(model, samples)

    return list(losses())
