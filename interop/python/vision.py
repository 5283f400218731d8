"""Makes tiny random CLIP and DINOv2 models with images, and writes what transformers computes of them.

    python vision.py OUT

OUT/NAME/ holds a model and `made.safetensors`: `pixels`, `hidden` (last_hidden_state), `pooled` (what stands for each
image) and, where the model has them, `logits`, `probabilities`, `text_embeds`, `image_embeds`; OUT/cases.json the texts
of each case, as token ids that end where their padding begins; OUT/tokenizer/ a CLIP tokenizer, and OUT/tokens.json what it
makes of some texts.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import pre_tokenizers
from transformers import (
    CLIPConfig,
    CLIPForImageClassification,
    CLIPModel,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2Model,
    PreTrainedModel,
)

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
TEXT = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 36,
    "vocab_size": 50,
    "max_position_embeddings": 12,
    "bos_token_id": 3,
    "eos_token_id": 2,
    "pad_token_id": 1,
}
VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 52,
    "image_size": 32,
    "patch_size": 8,
}
DINO = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 7,
}
# Legacy: the highest id ends a text, at its first place; otherwise the first of eos_token_id, or the first of all.
TEXTS = {
    "legacy": [[3, 9, 14, 49, 49, 49], [3, 49, 1, 1, 1, 1], [3, 48, 20, 21, 22, 49]],
    "plain": [[3, 9, 14, 7, 7, 7], [3, 7, 1, 1, 1, 1], [3, 20, 21, 22, 23, 24]],
}


def clip(dtype: str = "f32", eos: int = 2, size: list[int] | None = None, text: Any = None, labels: int = 0, **vision: Any) -> dict[str, Any]:
    config = CLIPConfig(text_config=TEXT | {"eos_token_id": eos} | (text or {}), vision_config=VISION | vision, projection_dim=20)
    if labels:
        config.num_labels = labels
    model = CLIPForImageClassification if labels else CLIPModel
    return {"model": model, "config": config, "dtype": dtype, "size": size or [config.vision_config.image_size] * 2}


def dinov2(dtype: str = "f32", size: list[int] | None = None, labels: int = 0, **settings: Any) -> dict[str, Any]:
    config = Dinov2Config(**DINO | settings)
    if labels:
        config.num_labels = labels
    model = Dinov2ForImageClassification if labels else Dinov2Model
    native = config.image_size if isinstance(config.image_size, list) else [config.image_size] * 2
    return {"model": model, "config": config, "dtype": dtype, "size": size or native}


def cases() -> dict[str, dict[str, Any]]:
    return {
        "clip-f32": clip(),
        "clip-f16": clip("f16"),
        "clip-bf16": clip("bf16"),
        "clip-eos": clip(eos=7, text={"hidden_act": "gelu"}),
        "clip-head80": clip(hidden_size=160, num_attention_heads=2, hidden_act="gelu", intermediate_size=64),
        "clip-head12-bf16": clip("bf16", hidden_size=36, num_attention_heads=3, text={"hidden_size": 20, "num_attention_heads": 1}),
        "clip-odd": clip(image_size=37, patch_size=7),
        "clip-one-patch": clip(image_size=9, patch_size=9),
        "clip-larger": clip(size=[48, 48]),
        "clip-oblong": clip(size=[21, 50]),
        "clip-classifier": clip(labels=5),
        "dinov2-f32": dinov2(),
        "dinov2-f16": dinov2("f16"),
        "dinov2-bf16": dinov2("bf16"),
        "dinov2-no-bias": dinov2(qkv_bias=False, mlp_ratio=3),
        "dinov2-swiglu": dinov2(use_swiglu_ffn=True),
        "dinov2-head80": dinov2(hidden_size=80, num_attention_heads=1),
        "dinov2-odd": dinov2(image_size=30, patch_size=[7, 14]),
        "dinov2-smaller": dinov2(image_size=70, size=[28, 28]),
        "dinov2-smaller-bf16": dinov2("bf16", image_size=70, size=[42, 42], hidden_size=36, num_attention_heads=3),
        "dinov2-oblong": dinov2(size=[35, 22]),
        "dinov2-classifier": dinov2(labels=3),
        "dinov2-classifier-two": dinov2(labels=2, use_swiglu_ffn=True),
    }


def randomise(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Weights with outputs about as large as their inputs, norms and factors around their neutral value."""
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if name == "logit_scale":
            continue
        if weight.dim() >= 2 and "embedding" not in name and "token" not in name:
            weight.data = noise * (1.5 / weight[0].numel() ** 0.5)
        elif "norm" in name or "lambda" in name:
            weight.data = weight.data + 0.2 * noise
        else:
            weight.data = 0.5 * noise


def describe(model: PreTrainedModel, pixels: torch.Tensor, texts: list[list[int]]) -> dict[str, torch.Tensor]:
    interpolated = {"interpolate_pos_encoding": True} if model.config.model_type == "clip" else {}
    if isinstance(model, CLIPModel):
        out = model(input_ids=torch.tensor(texts), pixel_values=pixels, **interpolated)
        logits = out.logits_per_image
        return {
            "hidden": out.vision_model_output.last_hidden_state,
            "pooled": model.get_image_features(pixels, **interpolated).pooler_output,
            "texts": model.get_text_features(torch.tensor(texts)).pooler_output,
            "logits": logits,
            "probabilities": logits.softmax(dim=1),
        }
    if isinstance(model, Dinov2Model):
        out = model(pixels)
        return {"hidden": out.last_hidden_state, "pooled": out.pooler_output}
    body = model.dinov2 if isinstance(model, Dinov2ForImageClassification) else model.vision_model
    out = body(pixels)
    logits = model(pixels).logits
    return {
        "hidden": out.last_hidden_state,
        "pooled": out.pooler_output,
        "logits": logits,
        "probabilities": logits.softmax(dim=1),
    }


SENTENCES = [
    "An image of a cat",
    "  A   photo of\tthe   Caf\u00e9 owner's 12 cats...",
    "CAF\u0045\u0301 \u00c5ngstr\u00f6m <|endoftext|> isn't we'll",
    "\u732b\U0001f63c !?! 3.14",
    "",
]


def make_tokenizer(out: Path) -> None:
    """A tokenizer of the kind that CLIP has: every byte, alone and at the end of a word, and a few merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("c", "a"), ("ca", "t</w>"), ("i", "m"), ("a", "g"), ("im", "ag"), ("imag", "e</w>"), ("o", "f</w>"), ("1", "2</w>")]
    tokens = [*alphabet, *(f"{character}</w>" for character in alphabet), *("".join(pair) for pair in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer({token: index for index, token in enumerate(tokens)}, merges)
    tokenizer.save_pretrained(out / "tokenizer")
    ids = [{"text": text, "ids": tokenizer(text)["input_ids"]} for text in SENTENCES]
    (out / "tokens.json").write_text(json.dumps(ids))


def main(out: Path) -> None:
    make_tokenizer(out)
    texts_of = {}
    for seed, (name, made) in enumerate(cases().items()):
        generator = torch.Generator().manual_seed(seed)
        model = made["model"](made["config"])
        randomise(model, generator)
        folder = out / name
        model.to(DTYPES[made["dtype"]]).save_pretrained(folder)
        model = made["model"].from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        pixels = torch.randn([3, 3, *made["size"]], generator=generator)
        is_legacy = getattr(getattr(made["config"], "text_config", None), "eos_token_id", 2) == 2
        texts = TEXTS["legacy" if is_legacy else "plain"]
        with torch.no_grad():
            tensors = describe(model, pixels, texts)
        save_file({"pixels": pixels, **{key: value.contiguous() for key, value in tensors.items()}}, folder / "made.safetensors")
        texts_of[name] = {"texts": texts, "size": made["size"]}
    (out / "cases.json").write_text(json.dumps(texts_of))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
