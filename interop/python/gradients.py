"""Gradients of tiny random decoders by PyTorch's autograd.

usage: gradients.py OUT      writes OUT/NAME (a model folder in f32) for every case, OUT/NAME/gradients.safetensors
                             (∂loss/∂weight by the weight's name), and OUT/expected.json

A case has two samples, which go through the model one at a time. The loss is the negative log-likelihood of their
supervised tokens, summed over both and divided by the number of those tokens.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from decoders import cases, eager, of_config, randomise
from safetensors.torch import load_file, save_file

SECOND_SAMPLE = 17
"""Tokens of the second sample."""


def lengths(made: dict[str, Any]) -> list[int]:
    """RoPE that depends on the length goes by the longest sample of a batch: there both are equally long."""
    kinds = json.dumps(getattr(made["config"].get_text_config(), "rope_parameters", None) or {})
    depends = "dynamic" in kinds or "longrope" in kinds
    return [made["tokens"], made["tokens"] if depends else SECOND_SAMPLE]


def describe(folder: Path, made: dict[str, Any], generator: torch.Generator) -> dict[str, Any]:
    model = eager(folder)
    samples, losses = [], []
    for length in lengths(made):
        ids = torch.randint(2, made["config"].get_text_config().vocab_size, (length,), generator=generator)
        # Of each token but the last: is the next one supervised?
        supervised = torch.rand(length - 1, generator=generator) < 0.7
        supervised[-1] = True
        logits = model(ids[None]).logits[0, :-1]
        losses.append(torch.nn.functional.cross_entropy(logits[supervised], ids[1:][supervised], reduction="none"))
        samples.append({"ids": ids.tolist(), "rows": supervised.nonzero()[:, 0].tolist()})
    nll = torch.cat(losses)
    nll.mean().backward()
    expected = {"samples": samples, "nll": nll.tolist()}
    # Saved as weights are, by the names and in the shapes of files: experts lie in one tensor only in memory.
    for weight in model.parameters():
        weight.data = torch.zeros_like(weight) if weight.grad is None else weight.grad
    for name, vector in model.named_buffers():
        if name.endswith(("expert_bias", "e_score_correction_bias")):
            vector.zero_()
    model.save_pretrained(folder / "gradients")
    save_file(each_expert(load_file(folder / "gradients" / "model.safetensors")), folder / "gradients.safetensors")
    return expected


def each_expert(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Files of Granite, Gemma 4, gpt-oss and Qwen3-VL MoE have one tensor of all experts: those of each, which are trained."""
    names = {"input_linear.weight": ["gate_proj", "up_proj"], "output_linear.weight": ["down_proj"], "experts.gate_up_proj": ["gate_proj", "up_proj"], "experts.down_proj": ["down_proj"]}
    found = {}
    for name, tensor in tensors.items():
        if f"{name}_bias" in tensors:
            begin, _, own = name.rpartition(".")
            found |= {f"{begin}.{expert}.{own}.weight": matrix.contiguous() for expert, matrix in enumerate(tensor)}
            continue
        match = re.fullmatch(r"(.+\.block_sparse_moe|.+\.\d+(?:\.mlp)?)\.(.+)", name)
        if match is None or match[2] not in names:
            found[name] = tensor
            continue
        for expert, matrix in enumerate(tensor):
            for own, part in zip(names[match[2]], matrix.chunk(len(names[match[2]])), strict=True):
                found[f"{match[1]}.experts.{expert}.{own}.weight"] = part.contiguous()
    return found


def main(out: Path) -> None:
    expected = {}
    for name, made in cases().items():
        if made["dtype"] != "f32":
            continue
        # By its name: a new case leaves the numbers of others as they are, which are far from where a gradient jumps.
        generator = torch.Generator().manual_seed(crc32(name.encode()))
        model = of_config(made["config"])
        randomise(model, generator)
        folder = out / name
        model.save_pretrained(folder)
        expected[name] = describe(folder, made, generator)
    (out / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
