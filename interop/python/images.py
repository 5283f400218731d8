"""Random images of every kind that we read, and what Pillow and transformers make of them.

usage: images.py FOLDER SEED COUNT

Writes the images, processors as transformers saves them, and prints one JSON object: digests of pixels, and of what the
processors give."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from transformers import AutoImageProcessor, BitImageProcessorPil, CLIPImageProcessorPil
from transformers.image_utils import load_image

warnings.filterwarnings("ignore")
#: Modes that each kind is written in.
KINDS = {
    "JPEG": ["RGB", "L", "CMYK"],
    "PNG": ["RGB", "L", "P", "1", "RGBA", "LA"],
    "WEBP": ["RGB", "RGBA"],
    "GIF": ["P", "L"],
    "PPM": ["RGB", "L"],
}


def digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def random_image(random: np.random.Generator, largest: int) -> Image.Image:
    width, height = (int(side) for side in random.integers(1, largest, 2))
    y, x = np.mgrid[0:height, 0:width]
    scale = random.uniform(2, 40, 3)
    waves = np.stack([np.sin(x / scale[0] + y / scale[1]), np.cos(x / scale[1] - y / scale[2]), np.sin(x * y / 90)], -1)
    values = 128 + 110 * waves + random.normal(0, random.uniform(0, 40), waves.shape)
    values[random.integers(0, height) :, : random.integers(1, width + 1)] = random.integers(0, 256, 3)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def encoded(random: np.random.Generator, image: Image.Image, kind: str) -> bytes:
    mode = str(random.choice(KINDS[kind]))
    if mode in ("RGBA", "LA"):
        values = np.asarray(image.convert("RGBA")).copy()
        values[..., 3] = random.integers(0, 256, values.shape[:2])
        image = Image.fromarray(values).convert(mode)
    elif mode == "P":
        image = image.quantize(int(random.integers(2, 257)))
    else:
        image = image.convert(mode)
    options: dict[str, Any] = {}
    if kind == "JPEG":
        options = {"quality": int(random.integers(5, 101)), "progressive": bool(random.integers(2)), "optimize": bool(random.integers(2))}
        if mode == "RGB":
            options["subsampling"] = str(random.choice(["4:4:4", "4:2:2", "4:2:0", "4:1:1"]))
    if kind == "PNG":
        options = {"compress_level": int(random.integers(0, 10))}
        if mode == "P" and random.integers(2):
            options["transparency"] = bytes(random.integers(0, 256, len(image.getcolors(256) or [])).astype(np.uint8))
    if kind == "WEBP":
        options = {"lossless": bool(random.integers(2)), "quality": int(random.integers(0, 101)), "exact": bool(random.integers(2))}
    if kind == "GIF" and mode == "P" and random.integers(2):
        options["transparency"] = 0
    if kind in ("JPEG", "PNG", "WEBP"):
        exif = Image.Exif()
        exif[0x0112] = int(random.integers(0, 10))
        options["exif"] = exif
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def processors(folder: Path) -> dict[str, Any]:
    """As models have them, saved as transformers does, and loaded from there."""
    clip = CLIPImageProcessorPil()
    dinov2 = BitImageProcessorPil(
        size={"shortest_edge": 256}, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]
    )
    odd = CLIPImageProcessorPil(size={"shortest_edge": 57}, crop_size={"height": 64, "width": 51}, resample=1)
    square = BitImageProcessorPil(size={"height": 40, "width": 61}, do_center_crop=False, resample=4)
    loaded = {}
    for name, processor in {"clip": clip, "dinov2": dinov2, "odd": odd, "square": square}.items():
        processor.save_pretrained(folder / name)
        loaded[name] = AutoImageProcessor.from_pretrained(folder / name, backend="pil")
        assert type(loaded[name]).__name__.endswith("Pil")
    return loaded


def main() -> None:
    folder, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    random = np.random.default_rng(seed)
    chosen = processors(folder)
    images = []
    for number in range(count):
        kind = list(KINDS)[number % len(KINDS)]
        image = random_image(random, 700 if number % 10 == 0 else 90)
        path = folder / f"{number}.{kind.lower()}"
        path.write_bytes(encoded(random, image, kind))
        plain = Image.open(path).convert("RGB")
        upright = load_image(str(path))
        # Alpha was dropped by load_image; of one transparent color it keeps a note, and processors make that color white.
        upright.info.pop("transparency", None)
        prepared = {}
        for name, processor in chosen.items():
            [values] = processor(upright, return_tensors="np")["pixel_values"]
            prepared[name] = digest(values.astype(np.float32))
        width, height = (int(side) for side in random.integers(1, 260, 2))
        resized = {
            name.lower(): digest(np.asarray(plain.resize((width, height), Image.Resampling[name])))
            for name in ("LANCZOS", "BILINEAR", "BICUBIC", "BOX")
        }
        images.append({
            "file": path.name,
            "size": plain.size,
            "pixels": digest(np.asarray(plain)),
            "upright": digest(np.asarray(upright.convert("RGB"))),
            "to": [width, height],
            "resized": resized,
            "prepared": prepared,
        })
    json.dump(images, sys.stdout)


if __name__ == "__main__":
    main()
