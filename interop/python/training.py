"""Training by the rules of docs/interface.md with PEFT, torch's AdamW and transformers' schedules: the yardstick of `randlora finetune`.

`options` are its flags without the dashes: {"learning-rate": 1e-3, "grad-accum": 2, ...}; what is left out has its default.
Samples are taken in file order (--no-shuffle), nothing is dropped out.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kradapter
import torch
from adapters import load_base
from decoders import DTYPES, cases, randomise
from experts import apart
from peft import LoraConfig, PeftModel, RandLoraConfig, VeraConfig, get_peft_model
from peft.utils.transformers_weight_conversion import _MODEL_TO_CONVERSION_PATTERN
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, get_scheduler

Options = dict[str, Any]

# PEFT 0.21.2 leaves modules of single experts out where a model's type is not in this list: it calls LFM2-MoE's as Mixtral's.
_MODEL_TO_CONVERSION_PATTERN["lfm2_moe"] = "mixtral"


@dataclass(frozen=True)
class Sample:
    ids: list[int]
    supervised: list[bool]


def read_samples(base: Path, file: str, options: Options) -> list[Sample]:
    """Texts, and prompts with completions, which are tokenized as one text: all but the first token of a text are supervised,
    of a completion those that hold a part of it; the end-of-sequence token belongs to either."""
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    end = tokenizer.token_to_id(json.loads((base / "tokenizer_config.json").read_text())["eos_token"])
    longest = options.get("max-length", 10**9)
    samples = []
    for line in Path(file).read_text().splitlines():
        fields = json.loads(line)
        prompt = fields.get("prompt", "")
        encoded = tokenizer.encode(prompt + fields.get("completion", fields.get("text")))
        ids = [*encoded.ids, end]
        supervised = [i > 0 and last > len(prompt) for i, (_, last) in enumerate(encoded.offsets)] + [True]
        if any(supervised[:longest]):
            samples.append(Sample(ids[:longest], supervised[:longest]))
    return samples


def rows_of(samples: list[Sample], options: Options) -> list[list[Sample]]:
    """A row is a sample; with packing as many as fit, one after the other."""
    if not options.get("packing"):
        return [[sample] for sample in samples]
    rows: list[list[Sample]] = [[]]
    for sample in samples:
        if sum(len(other.ids) for other in rows[-1]) + len(sample.ids) > options["max-length"]:
            rows.append([])
        rows[-1].append(sample)
    return rows


def steps_of(samples: list[Sample], options: Options) -> Iterator[list[list[Sample]]]:
    """The micro-batches of each step, without end: epoch after epoch, whose last step may be smaller."""
    batch = options.get("batch-size", 4)
    per_step = batch * options.get("grad-accum", 1)
    rows = rows_of(samples, options)
    while True:
        for first in range(0, len(rows), per_step):
            step = rows[first : first + per_step]
            yield [sum(step[i : i + batch], []) for i in range(0, len(step), batch)]


def supervised_of(samples: list[Sample]) -> int:
    return sum(sum(sample.supervised) for sample in samples)


def nll_sum(model: torch.nn.Module, samples: list[Sample]) -> torch.Tensor:
    """Σ negative log-likelihood of the supervised tokens; the samples are the rows of a batch, padded on the right."""
    width = max(len(sample.ids) for sample in samples)
    ids, mask = torch.zeros((2, len(samples), width), dtype=torch.long)
    labels = torch.full((len(samples), width), -100)
    for row, sample in enumerate(samples):
        length = len(sample.ids)
        ids[row, :length] = torch.tensor(sample.ids)
        mask[row, :length] = 1
        labels[row, :length] = torch.where(torch.tensor(sample.supervised), ids[row, :length], -100)
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")


def mean_nll(model: torch.nn.Module, samples: list[Sample]) -> float:
    with torch.no_grad():
        return sum(nll_sum(model.eval(), [sample]).item() for sample in samples) / supervised_of(samples)


def load(base: Path, options: Options) -> torch.nn.Module:
    model = load_base(base, torch.float32 if options.get("dtype") == "f32" else "auto")
    if getattr(model.config, "attn_logit_softcapping", None) is not None:
        model.set_attn_implementation("eager")  # the only one that knows it
    return model


def target_modules(targets: str | None) -> str | list[str] | None:
    """A list of names, all-linear, a regular expression, or PEFT's default."""
    if targets is None or targets == "all-linear" or not re.fullmatch("[A-Za-z0-9_.,-]+", targets):
        return targets
    return targets.split(",")


def with_adapter(model: torch.nn.Module, adapter: str, is_trainable: bool = False) -> torch.nn.Module:
    apart(model, adapter)
    config = kradapter.settings_of(adapter)
    if config is not None:
        return kradapter.with_kradapter(model, adapter, config)
    loaded = PeftModel.from_pretrained(model, adapter, is_trainable=is_trainable)
    require_all(loaded, adapter)
    return loaded


def require_all(model: PeftModel, adapter: str) -> None:
    """Raise where PEFT has fewer parameters of LoRA than the file: it leaves those of modules that it does not find out, and says nothing."""
    with safe_open(f"{adapter}/adapter_model.safetensors", "pt") as file:
        written = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys() if ".lora_" in name)
    found = sum(p.numel() for name, p in model.named_parameters() if ".lora_" in name)
    if found < written:
        raise ValueError(f"PEFT has {found} of {written} parameters of {adapter}")


def start_model(base: Path, options: Options, adapter: str | None) -> torch.nn.Module:
    """The model to train, in f32. The bases lie on the grid of the checkpoint's dtype, as PEFT leaves them."""
    method = options.get("method", "randlora")
    model = load(base, options)
    if method == "full":
        return model.float()
    if adapter is not None:
        return with_adapter(model, adapter, is_trainable=True).float()
    if method == "vera":
        config = VeraConfig(
            r=options.get("rank", 256),
            projection_prng_key=options.get("basis-seed", 0),
            d_initial=options.get("d-initial", 0.1),
            target_modules=target_modules(options.get("targets")),
            layers_to_transform=options.get("layers"),
        )
        return get_peft_model(model, config).float()
    r = options.get("rank", 32)
    config = RandLoraConfig(
        r=r,
        randlora_alpha=options.get("alpha", 20 * r),
        projection_prng_key=options.get("basis-seed", 0),
        target_modules=target_modules(options.get("targets")),
        layers_to_transform=options.get("layers"),
        sparse=options.get("sparse", False),
        very_sparse=options.get("very-sparse", False),
    )
    return get_peft_model(model, config).float()


def trained_of(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """What is trained, by the name that it has in a file."""
    named = ((name.replace(".default", ""), p) for name, p in model.named_parameters() if p.requires_grad)
    named = ((kradapter.PREFIX + name if "kradapter_" in name else name, p) for name, p in named)
    return {name.replace("magnitude_vector.weight", "magnitude_vector"): p for name, p in named}


def schedule_of(options: Options, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    name, warmup = options.get("schedule", "linear"), options.get("warmup", 0)
    if name == "constant" and warmup > 0:
        name = "constant_with_warmup"
    return get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=options["steps"])


def learning_rates(options: Options) -> list[float]:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=options["learning-rate"])
    schedule = schedule_of(options, optimizer)
    rates = []
    for _ in range(options["steps"]):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return rates


def save(tensors: dict[str, torch.nn.Parameter], file: str) -> None:
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, file)


def train(base: str, options: Options, data: str, valid: str, adapter: str | None, out: str) -> dict[str, Any]:
    """Train, from PEFT's initial values or from an adapter. Returns what metrics.jsonl holds, by step; `out` gets what was
    trained, `out`.start what that was before."""
    model = start_model(Path(base), options, adapter)
    trained = trained_of(model)
    save(trained, f"{out}.start")
    optimizer = torch.optim.AdamW(
        trained.values(),
        lr=options.get("learning-rate", 1e-4),
        betas=tuple(float(beta) for beta in options.get("betas", "0.9,0.999").split(",")),
        eps=options.get("eps", 1e-8),
        weight_decay=options.get("weight-decay", 0.0),
    )
    schedule = schedule_of(options, optimizer)
    clip = options.get("grad-clip", 1.0) or math.inf
    held_out = read_samples(Path(base), valid, options)
    before = mean_nll(model, held_out)
    metrics = []
    steps = steps_of(read_samples(Path(base), data, options), options)
    for _, micro_batches in zip(range(options["steps"]), steps):
        model.train()
        optimizer.zero_grad()
        tokens = sum(map(supervised_of, micro_batches))
        loss = 0.0
        for samples in micro_batches:
            part = nll_sum(model, samples) / tokens
            part.backward()
            loss += part.item()
        norm = torch.nn.utils.clip_grad_norm_(trained.values(), clip).item()
        metrics.append({"loss": loss, "learning_rate": schedule.get_last_lr()[0], "grad_norm": norm, "tokens": tokens})
        optimizer.step()
        schedule.step()
    save(trained, out)
    return {"steps": metrics, "valid_losses": [before, mean_nll(model, held_out)]}


def initial_magnitudes(base: str, targets: str, out: str) -> None:
    """`out` gets the magnitudes that a new DoRA begins with, on the checkpoint in its own dtype."""
    model = get_peft_model(load(Path(base), {}), LoraConfig(use_dora=True, target_modules=target_modules(targets)))
    save({name: p for name, p in trained_of(model).items() if name.endswith("magnitude_vector")}, out)


def load_trained(base: str, options: Options, adapter: str | None) -> torch.nn.Module:
    """What somebody trained, in f32: a model's folder, or a base with an adapter's."""
    model = load(Path(base), options)
    return (model if adapter is None else with_adapter(model, adapter)).float().eval()


def valid_loss(base: str, options: Options, valid: str, adapter: str | None) -> float:
    """The mean loss of a model on a file."""
    return mean_nll(load_trained(base, options, adapter), read_samples(Path(base), valid, options))


def last_logits(base: str, adapter: str | None, prompts: list[list[int]], out: str) -> None:
    """`out` gets the logits after the last token of each prompt, in f32, by the prompt's number."""
    model = load_trained(base, {}, adapter)
    with torch.no_grad():
        logits = [model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1] for ids in prompts]
    save_file({str(i): row.contiguous() for i, row in enumerate(logits)}, out)


def tiny_model(name: str, tokenizer: str, out: str) -> None:
    """The folder `out`: a random decoder of decoders.py with the tokenizer of another model, of 512 tokens."""
    made = cases()[name]
    made["config"].vocab_size = 512
    model = AutoModelForCausalLM.from_config(made["config"])
    randomise(model, torch.Generator().manual_seed(0))
    model.to(DTYPES[made["dtype"]]).save_pretrained(out)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(tokenizer) / file, out)
