"""Texts that transformers' greedy and beam search make with tiny random decoders.

usage: beams.py OUT      writes OUT/NAME (a model folder) for every case, and OUT/expected.json

Per case: prompts of several lengths, the tokens that stop a text, and by number of beams, for each prompt the tokens of
the best text (the one that stopped it left out) and its score. Each prompt is searched alone, in f32.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from decoders import cases, randomise
from transformers import AutoModelForCausalLM

NAMES = [
    "llama-f32",
    "mistral-f32",
    "qwen2-f32",
    "qwen3-f32",
    "phi3-f32",
    "gemma2-f32",
    "gemma3-f32",
    "llama-odd-sizes",
    "llama-dynamic-short",
    "phi3-longrope-crossing",
]
BEAMS = [1, 2, 4]
NEW_TOKENS = 12
LENGTHS = [1, 5, 17, 26, 9, 40, 2, 12, 61]
STOPS = [3, 17, 40, 41, 77, 100]


def search(model: Any, ids: list[int], beams: int, stops: list[int]) -> dict[str, Any]:
    tokens = torch.tensor([ids])
    with torch.no_grad():
        made = model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            num_beams=beams,
            do_sample=False,
            early_stopping=False,
            length_penalty=1.0,
            max_new_tokens=NEW_TOKENS,
            eos_token_id=stops,
            pad_token_id=0,
            return_dict_in_generate=True,
            output_scores=True,
        )
    text = made.sequences[0, len(ids) :].tolist()
    ends = [at for at, token in enumerate(text) if token in stops]
    scores = getattr(made, "sequences_scores", None)
    return {
        "tokens": text[: ends[0]] if ends else text,
        "stopped": len(ends) > 0,
        "score": None if scores is None else scores[0].item(),
    }


def main(out: Path) -> None:
    expected = {}
    every = cases()
    for seed, name in enumerate(NAMES):
        made = every[name]
        generator = torch.Generator().manual_seed(1000 + seed)
        model = AutoModelForCausalLM.from_config(made["config"])
        randomise(model, generator)
        folder = out / name
        model.to(torch.float32).save_pretrained(folder)
        vocabulary = made["config"].vocab_size
        prompts = [torch.randint(2, vocabulary, (length,), generator=generator).tolist() for length in LENGTHS]
        # One stop token for some models, several for others.
        stops = STOPS if seed % 2 == 0 else STOPS[:1]
        expected[name] = {"prompts": prompts, "stops": stops, "beams": {}}
        load = lambda: AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        model = load()
        for beams in BEAMS:
            texts = []
            for ids in prompts:
                # Angles that depend on the length are a state of the model: anew for each text.
                if "rope" in name or "dynamic" in name:
                    model = load()
                texts.append(search(model, ids, beams, stops))
            expected[name]["beams"][beams] = texts
    (out / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
