"""Fine-tunes on image files with transformers, PEFT and torch: the yardstick of `randlora finetune` from files to losses.

    python image_finetune.py JOBS     # one JSON object on stdout: NAME: {losses, norms, rates, valid_loss, valid_accuracy}

A job is {name, base, start, data, head, batch, steps, rate, decay, clip}: `start` is an adapter folder that we wrote, `data` a folder
with train/CLASS/* and valid/CLASS/*. Files are taken by class, then name.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy, normalize
from transformers import AutoImageProcessor, AutoModelForImageClassification, CLIPModel, CLIPTokenizer, get_scheduler
from transformers.image_utils import load_image

OPTIONS = {"dtype": torch.float32, "attn_implementation": "eager"}


def read(job: dict[str, Any], split: str) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    folder = Path(job["data"]) / split
    classes = sorted(path.name for path in folder.iterdir())
    files = [(label, file) for label, name in enumerate(classes) for file in sorted((folder / name).iterdir())]
    processor = AutoImageProcessor.from_pretrained(job["base"], backend="pil")
    pixels = processor([load_image(str(file)) for _, file in files], return_tensors="pt")["pixel_values"]
    return pixels, torch.tensor([label for label, _ in files]), classes


def logits_of(job: dict[str, Any], classes: list[str]) -> tuple[torch.nn.Module, Any]:
    """What is trained, and how it tells classes apart."""
    if job["head"] == "linear":
        base = AutoModelForImageClassification.from_pretrained(job["base"], num_labels=len(classes), **OPTIONS)
        model = PeftModel.from_pretrained(base, job["start"], is_trainable=True).eval()
        return model, lambda pixels: model(pixel_values=pixels).logits
    base = CLIPModel.from_pretrained(job["base"], **OPTIONS)
    tokenizer = CLIPTokenizer.from_pretrained(job["base"])
    with torch.no_grad():
        # Without padding: each text alone.
        texts = [tokenizer(f"An image of {name}", return_tensors="pt")["input_ids"] for name in classes]
        head = torch.cat([normalize(base.get_text_features(ids).pooler_output) for ids in texts])
        factor = base.logit_scale.exp()
    model = PeftModel.from_pretrained(base, job["start"], is_trainable=True).eval()
    return model, lambda pixels: factor * normalize(model.get_image_features(pixels).pooler_output) @ head.T


def train(job: dict[str, Any]) -> dict[str, Any]:
    pixels, labels, classes = read(job, "train")
    model, logits = logits_of(job, classes)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=job["rate"], weight_decay=job["decay"])
    scheduler = get_scheduler("cosine", optimizer, num_warmup_steps=0, num_training_steps=job["steps"])
    told: dict[str, Any] = {"losses": [], "norms": [], "rates": []}
    while len(told["losses"]) < job["steps"]:
        for begin in range(0, len(labels), job["batch"]):
            if len(told["losses"]) == job["steps"]:
                break
            part = slice(begin, begin + job["batch"])
            optimizer.zero_grad()
            loss = cross_entropy(logits(pixels[part]), labels[part])
            loss.backward()
            told["losses"].append(loss.item())
            told["norms"].append(torch.nn.utils.clip_grad_norm_(trained, job["clip"]).item())
            told["rates"].append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
    pixels, labels, _ = read(job, "valid")
    with torch.no_grad():
        found = logits(pixels)
    told["valid_loss"] = cross_entropy(found, labels).item()
    told["valid_accuracy"] = (found.argmax(dim=1) == labels).float().mean().item()
    return told


if __name__ == "__main__":
    print(json.dumps({job["name"]: train(job) for job in json.loads(Path(sys.argv[1]).read_text())}))
