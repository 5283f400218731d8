"""Training of CLIP and DINOv2 with PEFT and torch's AdamW: the yardstick of heads, contrastive losses and adapters of images.

    python vision_training.py make OUT      # OUT/clip, OUT/dinov2: models; OUT/NAME.safetensors: `pixels` and `labels`
    python vision_training.py train JOBS    # answers on stdout, one JSON object: NAME: {losses, norms, trained, merged}

A job is {name, base, data, height, task, whole, texts, classes, batch, steps, rate, decay, start, end, merged}: `start` and `end` are
adapter folders that we wrote, or model folders where all weights are trained (`whole`); `merged` is a model folder or null.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy, normalize
from transformers import AutoModelForImageClassification, CLIPModel, PreTrainedModel
from vision import cases, randomise

IMAGES = 15
CLASSES = 4


def make(out: Path) -> None:
    for seed, kind in enumerate(("clip", "dinov2")):
        made = cases()[f"{kind}-f32"]
        generator = torch.Generator().manual_seed(100 + seed)
        model = made["model"](made["config"])
        randomise(model, generator)
        model.save_pretrained(out / kind)
        labels = torch.arange(IMAGES) % CLASSES
        # Something of the class is to be seen.
        marks = torch.randn([CLASSES, 3, *made["size"]], generator=generator)
        pixels = marks[labels] + torch.randn([IMAGES, 3, *made["size"]], generator=generator)
        save_file({"pixels": pixels, "labels": labels.int()}, out / f"{kind}.safetensors")


def load(folder: str, job: dict[str, Any]) -> PreTrainedModel:
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    if job["task"] == "linear":
        # What we wrote as a model says itself how many classes there are.
        count = {"num_labels": job["classes"]} if folder == job["base"] else {}
        model = AutoModelForImageClassification.from_pretrained(folder, **count, **options)
        assert count or list(model.config.id2label.values()) == ["cat", "dog", "owl", "ant"]
        return model
    return CLIPModel.from_pretrained(folder, **options)


def losses_of(job: dict[str, Any], base: PreTrainedModel) -> Any:
    """The mean loss of a batch by a model, which may be `base` or what PEFT made of it. Its scale is trained where all is."""
    texts = job["texts"]
    if job["task"] == "zero-shot":
        with torch.no_grad():
            vectors = [normalize(read(base, some).double()).mean(dim=0) for some in texts]
            head = normalize(torch.stack(vectors)).float()

    def loss(model: torch.nn.Module, pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if job["task"] == "linear":
            return cross_entropy(model(pixel_values=pixels).logits, labels)
        seen = normalize(model.get_image_features(pixels).pooler_output, eps=0)
        scale = base.logit_scale if job["whole"] and job["task"] != "zero-shot" else base.logit_scale.detach()
        factor = scale if job["task"] == "paper" else scale.exp()
        if job["task"] == "zero-shot":
            return cross_entropy(factor * seen @ head.T, labels)
        units = normalize(read(model, [texts[label] for label in labels.tolist()]), eps=0)
        logits = factor * seen @ units.T
        if job["task"] == "paper":
            same = (labels[:, None] == labels[None, :]).int()
            return cross_entropy(logits, same.argmax(dim=1))
        own = torch.arange(len(labels))
        return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2

    return loss


def read(model: torch.nn.Module, texts: list[list[int]]) -> torch.Tensor:
    """What stands for texts, which end with the highest id: it pads them, too."""
    longest = max(map(len, texts))
    padded = [ids + ids[-1:] * (longest - len(ids)) for ids in texts]
    return model.get_text_features(torch.tensor(padded)).pooler_output


def save(model: PeftModel, out: Path) -> None:
    """The adapter as PEFT writes it, and beside it (`OUT-old`) by the names that DINOv2's modules had before transformers 5.20."""
    model.save_pretrained(out)
    old = out.with_name(f"{out.name}-old")
    old.mkdir()
    names = {"attention.q_proj": "attention.attention.query", "attention.v_proj": "attention.attention.value"}
    names |= {"attention.k_proj": "attention.attention.key", "attention.o_proj": "attention.output.dense"}

    def rename(name: str) -> str:
        for now, before in names.items():
            name = name.replace(now, before)
        return name

    is_dino = "dinov2" in str(out)
    tensors = load_file(out / "adapter_model.safetensors")
    save_file({rename(name) if is_dino else name: tensor for name, tensor in tensors.items()}, old / "adapter_model.safetensors")
    config = json.loads((out / "adapter_config.json").read_text())
    targets = config["target_modules"]
    if is_dino and isinstance(targets, list):
        ends = {now.split(".")[-1]: before.split(".")[-1] for now, before in names.items()}
        config["target_modules"] = [ends.get(target, rename(target)) for target in targets]
    (old / "adapter_config.json").write_text(json.dumps(config))


def train(job: dict[str, Any]) -> dict[str, Any]:
    data = load_file(job["data"])
    pixels, labels = data["pixels"][:, :, : job["height"]], data["labels"].long()
    base = load(job["start"] if job["whole"] else job["base"], job)
    loss_of = losses_of(job, base)
    model = base if job["whole"] else PeftModel.from_pretrained(base, job["start"], is_trainable=True).eval()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=job["rate"], weight_decay=job["decay"])
    losses, norms = [], []
    for step in range(job["steps"]):
        of = torch.arange(step * job["batch"], (step + 1) * job["batch"]) % len(labels)
        optimizer.zero_grad()
        loss = loss_of(model, pixels[of], labels[of])
        loss.backward()
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(trained, 1e9).item())
        optimizer.step()
    first = slice(0, job["batch"])
    if job["whole"]:
        model.save_pretrained(job["theirs"])
        ends = load(job["end"], job)
        with torch.no_grad():
            reloaded = losses_of(job, ends)(ends, pixels[first], labels[first]).item()
        return {"losses": losses, "norms": norms, "reloaded": reloaded, "merged": None}
    save(model, Path(job["theirs"]))
    with torch.no_grad():
        ends = PeftModel.from_pretrained(load(job["base"], job), job["end"]).eval()
        reloaded = loss_of(ends, pixels[first], labels[first]).item()
        merged = None
        if job["merged"] is not None:
            merged = loss_of(load(job["merged"], job).eval(), pixels[first], labels[first]).item()
    return {"losses": losses, "norms": norms, "reloaded": reloaded, "merged": merged}


def main(command: str, path: str) -> None:
    if command == "make":
        make(Path(path))
    else:
        print(json.dumps({job["name"]: train(job) for job in json.loads(Path(path).read_text())}))


if __name__ == "__main__":
    main(*sys.argv[1:])
