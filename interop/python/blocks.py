"""Weights in llama.cpp's blocks as Python's gguf rounds them: the yardstick of `--quantize`."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import torch
from adapters import load_base
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from safetensors.torch import load_file, save_file

FORMATS = {"q8": GGMLQuantizationType.Q8_0, "q4": GGMLQuantizationType.Q4_0}


def blocks(values: str, names: list[str], format: str, out: str) -> None:
    """`out` gets the bytes of these F32 matrices of the file `values` in a format."""
    tensors = load_file(values)
    save_file({name: torch.from_numpy(quantize(tensors[name].numpy(), FORMATS[format])) for name in names}, out)


def round_weight(weight: torch.Tensor, quantization: GGMLQuantizationType) -> None:
    stored = dequantize(quantize(weight.numpy(), quantization), quantization)
    weight.copy_(torch.from_numpy(np.ascontiguousarray(stored)))


def rounded_model(base: str, format: str, out: str) -> int:
    """The folder `out`: the model in f32, the weights of its layers' linear modules rounded where their rows are whole
    blocks of 32, and a decoder's embedding and output matrix in Q8_0. Returns how many of layers those are."""
    shutil.copytree(base, out)
    rounded = 0
    model = load_base(Path(base), torch.float32)
    with torch.no_grad():
        for name, module in model.named_modules():
            if not re.search(r"\.layers?\.", name) or not isinstance(module, torch.nn.Linear) or module.in_features % 32 != 0:
                continue
            round_weight(module.weight, FORMATS[format])
            rounded += 1
        if model.can_generate():
            # Of a tied model they are one.
            tables = {id(one.weight): one.weight for one in [model.get_input_embeddings(), model.get_output_embeddings()]}
            for table in tables.values():
                if table.shape[1] % 32 == 0:
                    round_weight(table, FORMATS["q8"])
    for file in Path(out).glob("*.safetensors*"):
        file.unlink()
    model.save_pretrained(out)
    config = json.loads((Path(base) / "config.json").read_text())
    (Path(out) / "config.json").write_text(json.dumps({**config, "torch_dtype": "float32", "dtype": "float32"}))
    return rounded
