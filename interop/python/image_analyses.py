"""The two analyses of `randlora analyze` on images, plainly: tiny random CLIP and DINOv2 models, adapters of PEFT's and
fine-tuned copies of them, numpy on transformers' activations, and PyTorch's losses of mixed weights.

    python image_analyses.py OUT ASKED

ASKED is JSON: `images` ([file, class] in the order in which they are looked at), `classes` (in the order of trained heads),
`points` (shares of the corners) and `batch` (of CKA). For each NAME of clip and dinov2, OUT/NAME/base, /full, /lora and
/randlora are the model and its variants; prints a JSON object by NAME: `cka` (a module after the other: `full` and `minibatch`,
of LoRA and RandLoRA with the full model) and `plane` (the losses at the points, corners randlora, full, lora).
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from analyses import full, minibatch
from peft import LoraConfig, RandLoraConfig, get_peft_model
from image_commands import PROMPT, prepared, small_clip
from transformers import (
    BitImageProcessorPil,
    Dinov2Config,
    Dinov2ForImageClassification,
)
from vision import DINO, randomise

Module = torch.nn.Module
OUTPUTS = ("self_attn.out_proj", "attention.o_proj", "mlp.fc2")


def variants(base: Module, folder: Path, targets: list[str], head: list[str], generator: torch.Generator) -> dict[str, Module]:
    """The merged models of adapters that are saved below `folder`, and a copy with other weights."""
    made = {}
    for name, settings in {
        "lora": LoraConfig(r=3, lora_alpha=6, target_modules=targets, modules_to_save=head or None),
        "randlora": RandLoraConfig(r=4, target_modules=targets, modules_to_save=head or None),
    }.items():
        adapted = get_peft_model(copy.deepcopy(base), settings).eval()
        for parameter, weight in adapted.named_parameters():
            if weight.requires_grad:
                size = 0.5 if "modules_to_save" in parameter else 0.2
                weight.data += size * torch.randn(weight.shape, generator=generator)
        adapted.save_pretrained(folder / name)
        made[name] = adapted.merge_and_unload().eval()
    made["full"] = copy.deepcopy(base).eval()
    for weight in made["full"].parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    made["full"].save_pretrained(folder / "full")
    return made


def class_tokens(model: Module, pixels: torch.Tensor) -> list[np.ndarray]:
    """What each output module of the encoder of images gives, (images, width)."""
    seen: list[np.ndarray] = []
    keep = lambda _module, _inputs, output: seen.append(output[:, 0].double().numpy())
    body = model.dinov2 if hasattr(model, "dinov2") else model.vision_model
    hooks = [module.register_forward_hook(keep) for name, module in body.named_modules() if name.endswith(OUTPUTS)]
    body(pixels)
    for hook in hooks:
        hook.remove()
    return seen


def analyse(made: dict[str, Module], pixels: torch.Tensor, logits: Callable[[Module], torch.Tensor], labels: torch.Tensor, asked: dict) -> dict:
    reference, *others = [class_tokens(made[name], pixels) for name in ("full", "lora", "randlora")]
    cka = [
        {
            "full": [full(x, other[at]) for other in others],
            "minibatch": [minibatch(x, other[at], asked["batch"]) for other in others],
        }
        for at, x in enumerate(reference)
    ]
    ends = [{key: value.double() for key, value in made[name].state_dict().items()} for name in ("randlora", "full", "lora")]
    model = copy.deepcopy(made["full"])
    losses = []
    for shares in asked["points"]:
        model.load_state_dict({key: sum(share * end[key] for share, end in zip(shares, ends)).float() for key in ends[0]})
        losses.append(torch.nn.functional.cross_entropy(logits(model).double(), labels).item())
    return {"cka": cka, "plane": losses}


def clip(out: Path, files: list[str], shown: list[str], asked: dict, generator: torch.Generator) -> dict:
    base = out / "base"
    model, tokenizer = small_clip(out, base, generator)
    pixels = prepared(base, files)
    # Those of the folders, as a head of texts has them.
    classes = sorted(set(shown))
    prompts = tokenizer([PROMPT.format(name) for name in classes], padding=True, return_tensors="pt")
    labels = torch.tensor([classes.index(name) for name in shown])
    made = variants(model, out, ["q_proj", "v_proj", "fc1"], [], generator)
    return analyse(made, pixels, lambda mixed: mixed(pixel_values=pixels, **prompts).logits_per_image, labels, asked)


def dinov2(out: Path, files: list[str], shown: list[str], asked: dict, generator: torch.Generator) -> dict:
    base, classes = out / "base", asked["classes"]
    names = {"id2label": dict(enumerate(classes)), "label2id": {name: at for at, name in enumerate(classes)}}
    model = Dinov2ForImageClassification(Dinov2Config(**DINO, **names)).eval()
    randomise(model, generator)
    model.dinov2.save_pretrained(base)
    size = DINO["image_size"]
    BitImageProcessorPil(size={"shortest_edge": size + 4}, crop_size={"height": size, "width": size}).save_pretrained(base)
    pixels = prepared(base, files)
    labels = torch.tensor([classes.index(name) for name in shown])
    made = variants(model, out, ["q_proj", "v_proj", "fc1"], ["classifier"], generator)
    for name in ("lora", "randlora"):
        (out / name / "classes.json").write_text(json.dumps(classes))
    return analyse(made, pixels, lambda mixed: mixed(pixel_values=pixels).logits, labels, asked)


def main(out: Path, asked: dict) -> None:
    files, shown = [list(column) for column in zip(*asked["images"])]
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        found = {name: of(out / name, files, shown, asked, generator) for name, of in {"clip": clip, "dinov2": dinov2}.items()}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
