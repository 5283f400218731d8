"""Makes tiny random CLIP and DINOv2 folders, whole with processors and tokenizer, and says what transformers and PEFT make of images.

    python image_commands.py OUT LABELS IMAGE...

OUT/clip and OUT/dinov2 (without a head) are models, OUT/adapter PEFT's RandLoRA adapter of the latter with a head for LABELS.
Prints a JSON object: `clip`, `text`, `dinov2` (vectors), `zero_shot` and `trained` (probabilities, a list for each image).
"""

import json
import sys
from pathlib import Path

import torch
from peft import RandLoraConfig, get_peft_model
from transformers import (
    AutoImageProcessor,
    BitImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2ForImageClassification,
)
from transformers.image_utils import load_image

from vision import DINO, TEXT, VISION, make_tokenizer, randomise

PROMPT = "An image of {}"


def prepared(folder: Path, images: list[str]) -> torch.Tensor:
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    return processor([load_image(image) for image in images], return_tensors="pt")["pixel_values"]


def small_clip(tokenizers: Path, folder: Path, generator: torch.Generator) -> tuple[CLIPModel, CLIPTokenizer]:
    """Writes a whole folder of a tiny random CLIP; its tokenizer is made in `tokenizers`."""
    make_tokenizer(tokenizers)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizers / "tokenizer")
    tokenizer.save_pretrained(folder)
    end = {"eos_token_id": tokenizer.eos_token_id, "vocab_size": len(tokenizer), "max_position_embeddings": 24}
    model = CLIPModel(CLIPConfig(text_config=TEXT | end, vision_config=VISION, projection_dim=20)).eval()
    randomise(model, generator)
    model.save_pretrained(folder)
    size = VISION["image_size"]
    CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size}).save_pretrained(folder)
    return model, tokenizer


def clip(out: Path, labels: list[str], images: list[str], generator: torch.Generator) -> dict[str, list]:
    folder = out / "clip"
    model, tokenizer = small_clip(out, folder, generator)
    pixels = prepared(folder, images)
    prompts = tokenizer([PROMPT.format(label) for label in labels], padding=True, return_tensors="pt")
    text = tokenizer(labels[0], return_tensors="pt")["input_ids"]
    return {
        "clip": model.get_image_features(pixels).pooler_output.tolist(),
        "text": model.get_text_features(text).pooler_output.tolist(),
        "zero_shot": model(pixel_values=pixels, **prompts).logits_per_image.softmax(dim=1).tolist(),
    }


def dinov2(out: Path, labels: list[str], images: list[str], generator: torch.Generator) -> dict[str, list]:
    folder = out / "dinov2"
    config = Dinov2Config(**DINO)
    config.num_labels = len(labels)
    model = Dinov2ForImageClassification(config).eval()
    randomise(model, generator)
    model.dinov2.save_pretrained(folder)
    size = DINO["image_size"]
    BitImageProcessorPil(size={"shortest_edge": size + 4}, crop_size={"height": size, "width": size}).save_pretrained(folder)
    pixels = prepared(folder, images)
    seen = model.dinov2(pixels).pooler_output.tolist()
    settings = RandLoraConfig(r=4, target_modules=["q_proj", "v_proj", "fc1"], modules_to_save=["classifier"])
    adapted = get_peft_model(model, settings).eval()
    for name, weight in adapted.named_parameters():
        if "randlora_lambda" in name or "randlora_gamma" in name:
            weight.data += 0.3 * torch.randn(weight.shape, generator=generator)
        if "modules_to_save" in name:
            weight.data = 0.5 * torch.randn(weight.shape, generator=generator)
    adapted.save_pretrained(out / "adapter")
    (out / "adapter" / "classes.json").write_text(json.dumps(labels))
    return {"dinov2": seen, "trained": adapted(pixel_values=pixels).logits.softmax(dim=1).tolist()}


def main(out: Path, labels: list[str], images: list[str]) -> None:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        print(json.dumps(clip(out, labels, images, generator) | dinov2(out, labels, images, generator)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:])
