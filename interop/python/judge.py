"""PEFT on call: one request a line on stdin, one answer a line on stdout (JSON). Ends, and removes its work folder, when
stdin closes. One process for a whole test run: importing torch and PEFT takes longer than most cases."""

from __future__ import annotations

import io
import json
import os
import runpy
import sys
import tempfile
import traceback
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
import analyses
from adapters import BASES, change_f64, layers_of, load_base
from answers import answers
from architectures import architecture_rows, expert_adapter, fused_architecture, make_architecture, merged_architecture, older_config
from blocks import blocks, rounded_model
from cases import CASES
from combine import combined, lora_of
from commonsense import commonsense, commonsense_samples
from gguf_files import gguf_differences, gguf_write
from gguf_models import gguf_models
from kradapter import kradapter_merged
from make import logits_of, make_case, make_real_case
from models import DTYPES
from peft import PeftConfig, PeftModel, RandLoraConfig, VeraConfig, get_peft_model
from peft.tuners.randlora.layer import RandLoraLayer
from rivals import intruders_reduced, rival
from safetensors.torch import load_file, save_file
from training import initial_magnitudes, last_logits, learning_rates, tiny_model, train, valid_loss
from training_data import chat_samples


def script(name: str, args: list[str]) -> str:
    """Run a script of this folder, for which torch is imported already. @returns what it prints"""
    torch.manual_seed(0)
    sys.argv = [name, *args]
    with redirect_stdout(io.StringIO()) as printed:
        runpy.run_path(str(Path(__file__).with_name(name)), run_name="__main__")
    return printed.getvalue()


def cases() -> list[str]:
    return list(CASES)


def bases(specs: list[dict[str, Any]], out: str) -> None:
    """What PEFT draws for each spec {name, key, r, max, min, kind, dtype}, as it stands in a layer: `name.a` (r, 1, min),
    `name.b` (max, n, r), f32 after the cast to the base's dtype."""
    drawn = {}
    for spec in specs:
        model = torch.nn.Sequential(torch.nn.Linear(spec["min"], spec["max"], bias=False, dtype=DTYPES[spec["dtype"]]))
        config = RandLoraConfig(
            r=spec["r"],
            projection_prng_key=int(spec["key"]),
            target_modules=["0"],
            sparse=spec["kind"] == "sparse",
            very_sparse=spec["kind"] == "very_sparse",
        )
        [(_, layer)] = layers_of(get_peft_model(model, config))
        drawn[spec["name"] + ".a"] = layer.randlora_A["default"].contiguous()
        drawn[spec["name"] + ".b"] = layer.randlora_B["default"].contiguous()
    save_file(drawn, out)


def factors(specs: list[dict[str, Any]], out: str) -> None:
    """The same of VeRA's, for specs {name, key, r, layers, dtype} whose layers are [out, in]: `name.a` (r, max_in), `name.b`
    (max_out, r)."""
    drawn = {}
    for spec in specs:
        linears = [torch.nn.Linear(size, out, bias=False, dtype=DTYPES[spec["dtype"]]) for out, size in spec["layers"]]
        names = [str(i) for i in range(len(linears))]
        config = VeraConfig(r=spec["r"], projection_prng_key=int(spec["key"]), target_modules=names)
        [(_, layer), *_] = layers_of(get_peft_model(torch.nn.Sequential(*linears), config))
        drawn[spec["name"] + ".a"] = layer.vera_A["default"].contiguous()
        drawn[spec["name"] + ".b"] = layer.vera_B["default"].contiguous()
    save_file(drawn, out)


def logits(model: str, reference: str) -> dict[str, float]:
    """Load a merged folder with transformers; distance of its outputs from the exact ones and from PEFT's, and PEFT's
    own distance from the exact ones, each relative to the exact outputs' norm."""
    known = load_file(reference)
    ours = logits_of(load_base(Path(model)))
    far = lambda a, b: ((a - b).norm() / known["exact"].norm()).item()
    return {
        "ours_exact": far(ours, known["exact"]),
        "ours_peft": far(ours, known["peft"]),
        "peft_exact": far(known["peft"], known["exact"]),
    }


def load_adapter(base: str, adapter: str, out: str) -> dict[str, Any]:
    """Load an adapter folder in PEFT. `out` gets, by module: what merging adds in f64 (`.delta`), RandLoRA's λ and γ; the answer has every warning,
    and the configuration as PEFT understood it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(load_base(Path(base)), adapter).eval()
    tensors = {}
    for path, layer in layers_of(model):
        tensors[f"{path}.delta"] = change_f64(layer, "default", layer.get_base_layer().weight.detach().double())
        if isinstance(layer, RandLoraLayer):
            tensors[f"{path}.lambda"] = layer.randlora_lambda["default"].detach().contiguous()
            tensors[f"{path}.gamma"] = layer.randlora_gamma["default"].detach().contiguous()
    save_file(tensors, out)
    # Deprecations concern PEFT's and transformers' authors; what is wrong with an adapter is a UserWarning.
    told = [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
    return {"warnings": told, "config": plain(model.peft_config["default"].to_dict())}


def perplexities(
    base: str, adapter: str, merged: str, ids: list[int], context: int, beginning: int | None
) -> dict[str, float]:
    """Mean negative log-likelihoods of a text, in f32: by the base, by PEFT's adapted model, by a merged folder."""
    adapted = PeftModel.from_pretrained(load_base(Path(base), torch.float32), adapter)
    return {
        "base": nll_of(load_base(Path(base), torch.float32), ids, context, beginning),
        "adapted": nll_of(adapted, ids, context, beginning),
        "merged": nll_of(load_base(Path(merged), torch.float32), ids, context, beginning),
    }


def perplexity(
    base: str, adapter: str | None, ids: list[int], context: int, beginning: int | None
) -> float:
    """The mean negative log-likelihood of a text by a model in f32, perhaps with an adapter."""
    model = load_base(Path(base), torch.float32)
    return nll_of(model if adapter is None else PeftModel.from_pretrained(model, adapter), ids, context, beginning)


def nll_of(model: torch.nn.Module, ids: list[int], context: int, beginning: int | None = None) -> float:
    """In windows without overlap, whose first token is not predicted; `beginning` takes its place in all but the first."""
    total = 0.0
    tokens = 0
    with torch.no_grad():
        for start in range(0, len(ids) - 1, context):
            window = torch.tensor([ids[start : start + context]])
            if start > 0 and beginning is not None:
                window[0, 0] = beginning
            logits = model.eval()(input_ids=window, use_cache=False).logits[0, :-1].double()
            total += torch.nn.functional.cross_entropy(logits, window[0, 1:], reduction="sum").item()
            tokens += window.shape[1] - 1
    return total / tokens


def plain(config: dict[str, Any]) -> dict[str, str]:
    """A configuration as text by key: sets in order, numbers above 2^53 whole."""
    return {key: str(sorted(value) if isinstance(value, set) else value) for key, value in config.items()}


def config_of(adapter: str) -> dict[str, str]:
    """The configuration that PEFT reads from an adapter folder."""
    return plain(PeftConfig.from_pretrained(adapter).to_dict())


def without_projections(adapter: str, out: str) -> None:
    """The adapter as PEFT would have written it with save_projection=False."""
    config = json.loads((Path(adapter) / "adapter_config.json").read_text())
    tensors = load_file(Path(adapter) / "adapter_model.safetensors")
    Path(out).mkdir()
    (Path(out) / "adapter_config.json").write_text(json.dumps({**config, "save_projection": False}))
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(BASES)}
    save_file(kept, Path(out) / "adapter_model.safetensors", metadata={"format": "pt"})


def main() -> None:
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints must not reach the answers
    with tempfile.TemporaryDirectory(prefix="randlora-interop-") as work:
        methods = {
            "work": lambda: work,
            "script": script,
            "cases": cases,
            "case": lambda name: make_case(name, Path(work)),
            "real_case": lambda name, base, dtype: make_real_case(name, Path(base), dtype, Path(work)),
            "bases": bases,
            "factors": factors,
            "logits": logits,
            "load_adapter": load_adapter,
            "perplexities": perplexities,
            "config": config_of,
            "without_projections": without_projections,
            "train": train,
            "valid_loss": valid_loss,
            "tiny_model": tiny_model,
            "last_logits": last_logits,
            "kradapter_merged": kradapter_merged,
            "rival": rival,
            "intruders_reduced": intruders_reduced,
            "initial_magnitudes": initial_magnitudes,
            "learning_rates": learning_rates,
            "chat_samples": chat_samples,
            "answers": answers,
            "architecture_rows": architecture_rows,
            "make_architecture": make_architecture,
            "merged_architecture": merged_architecture,
            "expert_adapter": expert_adapter,
            "fused_architecture": fused_architecture,
            "older_config": older_config,
            "blocks": blocks,
            "rounded_model": rounded_model,
            "gguf_models": gguf_models,
            "gguf_differences": gguf_differences,
            "gguf_write": gguf_write,
            "perplexity": perplexity,
            "cka": analyses.cka,
            "plane": analyses.plane,
            "lora_of": lora_of,
            "combined": combined,
            "commonsense": commonsense,
            "commonsense_samples": commonsense_samples,
        }
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = {"result": methods[request["method"]](**request["params"])}
            except Exception:
                answer = {"error": traceback.format_exc()}
            replies.write(json.dumps(answer) + "\n")
            replies.flush()


if __name__ == "__main__":
    main()
