"""The commonsense protocol of LLM-Adapters on transformers, plainly: prompts, one question at a time, answers, the
file. Answers are searched in f32 with 4 beams."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from adapters import load_base
from transformers import AutoTokenizer

INDENT = " " * 16
BEGIN = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
PATTERNS = {"boolq": "true|false", "piqa": "solution1|solution2", "winogrande": "option1|option2", "ARC-Easy": "answer1|answer2|answer3|answer4|answer5"}


def training_text(entry: dict[str, str]) -> str:
    parts = ["### Instruction:", entry["instruction"], "", "### Response:", entry["output"]]
    return f"{BEGIN}  \n\n" + "\n".join(INDENT + part for part in parts)


def evaluation_text(entry: dict[str, str]) -> str:
    lines = [INDENT + "### Instruction:", INDENT + entry["instruction"], "", INDENT + "### Response:", INDENT]
    return f"{BEGIN} \n\n" + "\n".join(lines)


def commonsense_samples(base: str, data: str, longest: int) -> list[list[int]]:
    """Token ids as the field's training makes them: cut, and ended where there is room."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    samples = []
    for entry in json.loads(Path(data).read_text()):
        ids = tokenizer(training_text(entry), truncation=True, max_length=longest)["input_ids"]
        if ids[-1] != tokenizer.eos_token_id and len(ids) < longest:
            ids.append(tokenizer.eos_token_id)
        samples.append(ids)
    return samples


def commonsense(base: str, data: str, task: str, out: str, mask: bool) -> None:
    """`out` gets the answers to DATA/TASK/test.json; without `mask` transformers infers one, as in the protocol's script."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = load_base(Path(base), torch.float32)
    answers: list[dict[str, Any]] = []
    for entry in json.loads((Path(data) / task / "test.json").read_text()):
        ids = tokenizer(evaluation_text(entry), return_tensors="pt")["input_ids"]
        with torch.no_grad():
            made = model.eval().generate(
                ids,
                **({"attention_mask": torch.ones_like(ids)} if mask else {}),
                num_beams=4,
                do_sample=False,
                max_new_tokens=32,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=0,
            )
        text = tokenizer.decode(made[0], skip_special_tokens=True).split("### Response:")[-1].strip()
        found = re.findall(PATTERNS[task], text)
        pred = found[0] if found else ""
        answers.append({**entry, "output_pred": text, "pred": pred, "flag": pred == entry["answer"]})
    with open(out, "w") as file:
        json.dump(answers, file, indent=4)
