"""Embeds images with transformers' CLIP, and takes steps of PEFT's RandLoRA on it, each when a line of standard input asks.

usage: peft_images.py make OUT                          writes OUT: CLIP of ViT-B/32's shape, random, f32
       peft_images.py run BASE IMAGES RANK THREADS    lines: embed, train

Prints `{"ready": trained parameters}`, then for each line its seconds and its processor time. Everything is f32, images are random
pixels of 224 × 224; a linear head of ten classes is trained beside the adapter of q, k and v.
"""

import json
import sys
import time

import torch
from peft import RandLoraConfig, get_peft_model
from transformers import CLIPConfig, CLIPForImageClassification, CLIPModel, set_seed

CLASSES = 10


def run(base: str, images: int, rank: int) -> None:
    embedder = CLIPModel.from_pretrained(base).eval()
    model = CLIPForImageClassification.from_pretrained(base, num_labels=CLASSES)
    config = RandLoraConfig(
        r=rank,
        randlora_alpha=20 * rank,
        target_modules=["q_proj", "k_proj", "v_proj"],
        modules_to_save=["classifier"],
    )
    model = get_peft_model(model, config).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.0)
    pixels = torch.randn(images, 3, 224, 224)
    labels = torch.arange(images) % CLASSES

    def embed() -> None:
        with torch.no_grad():
            embedder.get_image_features(pixels)

    def train() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(pixel_values=pixels).logits, labels).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()

    print(json.dumps({"ready": sum(p.numel() for p in trained)}), flush=True)
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        {"embed": embed, "train": train}[line.strip()]()
        print(json.dumps({"seconds": time.perf_counter() - wall, "coreSeconds": time.process_time() - cpu}), flush=True)


if __name__ == "__main__":
    set_seed(0)
    if sys.argv[1] == "make":
        CLIPModel(CLIPConfig()).save_pretrained(sys.argv[2])
    else:
        torch.set_num_threads(int(sys.argv[5]))
        run(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
