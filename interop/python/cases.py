"""The table of cases: which base, which adapters on it, and how `randlora merge` is to be asked."""

from __future__ import annotations

from dataclasses import dataclass, field

MLP_AND_ATTENTION = ("q_proj", "k_proj", "v_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class AdapterSpec:
    """One PEFT adapter, of RandLoRA or (`method`) LoRA, DoRA or VeRA. `projections`: how the bases are kept in the file.

    copies: as PEFT writes them (the pair, and one copy a layer); pair: the pair alone; none: save_projection=False;
    foreign: the pair, replaced by f32 numbers that no generator draws.
    """

    targets: tuple[str, ...] | str = MLP_AND_ATTENTION
    r: int = 16
    alpha: int = 320
    key: int = 0
    bases: str = "dense"
    projections: str = "none"
    ratio: float = 0.05  # ||ΔW|| / ||W|| of every adapted weight
    name: str = "default"
    prefix: bool = True  # False: tensor names without "base_model.model."
    options: dict[str, object] = field(default_factory=dict)  # more of the method's configuration
    method: str = "randlora"
    stored: str | None = None  # dtype of the tensors in the file; None: as PEFT writes them


@dataclass(frozen=True)
class CaseSpec:
    base: str
    dtype: str
    adapters: tuple[AdapterSpec, ...]
    scales: tuple[float, ...] = ()
    out_dtype: str | None = None
    shard_size: str | None = None


def one(base: str, dtype: str, adapter: AdapterSpec, **more: object) -> CaseSpec:
    return CaseSpec(base, dtype, (adapter,), **more)  # type: ignore[arg-type]


def lora(targets: tuple[str, ...] | str = MLP_AND_ATTENTION, r: int = 8, **more: object) -> AdapterSpec:
    return AdapterSpec(targets, r=r, alpha=2 * r, method="lora", projections="lora", **more)  # type: ignore[arg-type]


def vera(targets: tuple[str, ...] | str = MLP_AND_ATTENTION, r: int = 16, **more: object) -> AdapterSpec:
    """VeRA; PEFT writes the pair alone."""
    return AdapterSpec(targets, r=r, method="vera", **{"projections": "pair", **more})  # type: ignore[arg-type]


def dora(targets: tuple[str, ...] | str = MLP_AND_ATTENTION, r: int = 8, **more: object) -> AdapterSpec:
    return AdapterSpec(targets, r=r, alpha=2 * r, method="dora", projections="lora", **more)  # type: ignore[arg-type]


GPT2_TARGETS = ("c_attn", "c_proj", "c_fc")
REGEX = r"(?i).*\.layers\.(?P<layer>[01])\.self_attn\.[QV]_proj"

CASES: dict[str, CaseSpec] = {
    # dense bases, every dtype, every way to keep them
    "dense-bf16-copies": one("llama", "bf16", AdapterSpec(projections="copies")),
    "dense-bf16-pair": one("llama", "bf16", AdapterSpec(projections="pair", key=11)),
    "dense-bf16-redrawn": one("llama", "bf16", AdapterSpec(key=7)),
    "dense-bf16-foreign": one("llama", "bf16", AdapterSpec(projections="foreign")),
    "dense-f16-copies": one("llama", "f16", AdapterSpec(projections="copies", key=3)),
    "dense-f16-redrawn-r7": one("llama", "f16", AdapterSpec(r=7, key=2**53 + 1)),
    "dense-f32-copies": one("llama", "f32", AdapterSpec(projections="copies")),
    "dense-f32-redrawn-r10-negative-key": one("llama", "f32", AdapterSpec(r=10, key=-3)),
    "dense-f32-foreign": one("llama", "f32", AdapterSpec(projections="foreign", r=9)),
    "dense-f32-huge-key": one("llama", "f32", AdapterSpec(key=2**63 + 12345)),
    "dense-bf16-rank-above-rows": one("llama", "bf16", AdapterSpec(r=48, key=5)),
    "dense-bf16-rank-1": one("llama", "bf16", AdapterSpec(r=1, targets=("v_proj",), projections="pair")),
    "dense-bf16-large-delta": one("llama", "bf16", AdapterSpec(ratio=3.0, projections="copies")),
    "dense-bf16-wide": one("llama-wide", "bf16", AdapterSpec(r=32, targets=("q_proj", "k_proj", "down_proj"))),
    "dense-f32-wide": one("llama-wide", "f32", AdapterSpec(r=50, targets=("q_proj", "up_proj"), projections="pair")),
    # sparse bases
    "sparse-bf16-redrawn": one("llama", "bf16", AdapterSpec(bases="sparse", key=2)),
    "sparse-f32-copies": one("llama", "f32", AdapterSpec(bases="sparse", r=10, projections="copies")),
    "sparse-f16-redrawn": one("llama", "f16", AdapterSpec(bases="sparse", r=12)),
    "very-sparse-bf16-pair": one("llama", "bf16", AdapterSpec(bases="very_sparse", projections="pair")),
    "very-sparse-f16-redrawn": one("llama", "f16", AdapterSpec(bases="very_sparse", r=9, key=-1)),
    "very-sparse-f32-redrawn": one("llama", "f32", AdapterSpec(bases="very_sparse", key=99)),
    # Conv1D: the stored weight is (in, out)
    "conv1d-f32": one("gpt2", "f32", AdapterSpec(GPT2_TARGETS, r=10, options={"fan_in_fan_out": True})),
    "conv1d-f32-bias-all-and-saved": one(
        "gpt2",
        "f32",
        AdapterSpec(("c_attn",), r=8, options={"fan_in_fan_out": True, "bias": "all", "modules_to_save": ["ln_f"]}),
    ),
    "conv1d-bf16-sparse": one(
        "gpt2", "bf16", AdapterSpec(GPT2_TARGETS, bases="sparse", projections="copies", options={"fan_in_fan_out": True})
    ),
    "conv1d-f16-headless": one(
        "gpt2-headless", "f16", AdapterSpec(("c_attn",), r=8, projections="pair", options={"fan_in_fan_out": True})
    ),
    # which modules
    "layers-to-transform": one(
        "llama", "bf16", AdapterSpec(options={"layers_to_transform": [1], "layers_pattern": "layers"})
    ),
    "regex-targets": one("llama", "f32", AdapterSpec(REGEX, key=4)),
    "all-linear": one("llama", "bf16", AdapterSpec("all-linear", r=24)),
    "default-targets": one("qwen2", "bf16", AdapterSpec(("q_proj", "v_proj"), r=8)),
    # what is saved beside λ and γ
    "modules-to-save": one("llama", "bf16", AdapterSpec(options={"modules_to_save": ["lm_head", "embed_tokens"]})),
    "modules-to-save-norms": one("llama", "f32", AdapterSpec(options={"modules_to_save": ["norm"]}, projections="pair")),
    # a tied embedding that is trained leaves the head behind
    "tied-embedding-to-save-bf16": one("llama-tied", "bf16", AdapterSpec(("q_proj",), options={"modules_to_save": ["embed_tokens"]})),
    "tied-wte-to-save-f32": one(
        "gpt2", "f32", AdapterSpec(("c_attn",), r=8, options={"fan_in_fan_out": True, "modules_to_save": ["wte"]})
    ),
    "bias-all": one("qwen2", "bf16", AdapterSpec(("q_proj", "v_proj", "down_proj"), r=8, options={"bias": "all"})),
    "bias-randlora-only": one(
        "qwen2", "f32", AdapterSpec(("q_proj", "v_proj"), r=8, projections="copies", options={"bias": "randlora_only"})
    ),
    # a tied head that is adapted: it must come untied
    "tied-lm-head-bf16": one("llama-tied", "bf16", AdapterSpec(("q_proj", "lm_head"))),
    "tied-lm-head-f32": one("llama-tied", "f32", AdapterSpec(("lm_head",), projections="copies", r=10)),
    # the folder's shape
    "adapter-name": one("llama", "bf16", AdapterSpec(name="winter", projections="copies")),
    "no-prefix": one("llama", "f32", AdapterSpec(prefix=False, bases="sparse")),
    "sharded-f16": one("llama", "f16", AdapterSpec(projections="pair"), shard_size="200KB"),
    "sharded-bf16": one("llama", "bf16", AdapterSpec(bases="sparse"), shard_size="100KB"),
    # asked in another way
    "scale": one("llama", "f32", AdapterSpec(key=8), scales=(0.25,)),
    "f32-to-bf16": one("llama", "f32", AdapterSpec(projections="pair"), out_dtype="bf16"),
    "bf16-to-f32": one("llama", "bf16", AdapterSpec(projections="pair"), out_dtype="f32"),
    "two-adapters-f32": CaseSpec(
        "llama", "f32", (AdapterSpec(key=1, projections="pair"), AdapterSpec(("q_proj", "v_proj"), r=10, bases="sparse"))
    ),
    "two-adapters-bf16": CaseSpec(
        "llama",
        "bf16",
        (AdapterSpec(key=1), AdapterSpec(("q_proj", "gate_proj", "up_proj"), r=20, key=6)),
        scales=(1.0, -0.5),
    ),
    # LoRA
    "lora-f32": one("llama", "f32", lora()),
    "lora-bf16": one("llama", "bf16", lora(r=16)),
    "lora-f16-rslora": one("llama", "f16", lora(r=5, options={"use_rslora": True})),
    "lora-bf16-rank-1": one("llama", "bf16", lora(("v_proj",), r=1)),
    "lora-f32-rank-above-sizes": one("llama", "f32", lora(r=300)),
    "lora-bf16-stored-bf16": one("llama", "bf16", lora(stored="bf16")),
    "lora-f32-patterns": one(
        "llama",
        "f32",
        lora(
            options={
                "rank_pattern": {r"layers\.0\.self_attn\.q_proj": 3, "q_proj": 12, "up_.*": 6},
                "alpha_pattern": {"down_proj": 5, r"^model\.layers\.1\..*": 40},
                "use_rslora": True,
            }
        ),
    ),
    "lora-conv1d-f32": one("gpt2", "f32", lora(GPT2_TARGETS, options={"fan_in_fan_out": True})),
    "lora-conv1d-bf16": one("gpt2", "bf16", lora(GPT2_TARGETS, r=10, options={"fan_in_fan_out": True})),
    "lora-regex-f32": one("llama", "f32", lora(REGEX, r=4)),
    "lora-all-linear-bf16": one("llama", "bf16", lora("all-linear")),
    "lora-saved-and-biases-f32": one(
        "qwen2", "f32", lora(("q_proj", "v_proj"), options={"bias": "lora_only", "modules_to_save": ["norm"]})
    ),
    "lora-tied-lm-head-bf16": one("llama-tied", "bf16", lora(("q_proj", "lm_head"))),
    "lora-to-bf16": one("llama", "f32", lora(), scales=(0.5,), out_dtype="bf16"),
    # DoRA
    "dora-f32": one("llama", "f32", dora()),
    "dora-bf16": one("llama", "bf16", dora(r=16)),
    "dora-f16-rslora": one("llama", "f16", dora(r=5, options={"use_rslora": True})),
    "dora-bf16-large-delta": one("llama", "bf16", dora(ratio=3.0)),
    "dora-bf16-stored-bf16": one("llama", "bf16", dora(stored="bf16")),
    "dora-f32-patterns": one(
        "llama",
        "f32",
        dora(
            options={
                "rank_pattern": {r"layers\.0\.self_attn\.q_proj": 3, "q_proj": 12, "up_.*": 6},
                "alpha_pattern": {"down_proj": 5, r"^model\.layers\.1\..*": 40},
                "use_rslora": True,
            }
        ),
    ),
    "dora-conv1d-f32": one("gpt2", "f32", dora(GPT2_TARGETS, options={"fan_in_fan_out": True})),
    "dora-conv1d-bf16": one("gpt2", "bf16", dora(GPT2_TARGETS, r=10, options={"fan_in_fan_out": True})),
    "dora-saved-and-biases-f32": one(
        "qwen2", "f32", dora(("q_proj", "v_proj"), options={"bias": "lora_only", "modules_to_save": ["norm"]})
    ),
    "dora-tied-lm-head-bf16": one("llama-tied", "bf16", dora(("q_proj", "lm_head"))),
    "dora-scale-to-bf16": one("llama", "f32", dora(), scales=(0.5,), out_dtype="bf16"),
    "two-doras-f32": CaseSpec("llama", "f32", (dora(), dora(("q_proj", "gate_proj"), r=4)), scales=(1.0, -0.5)),
    "lora-and-dora-bf16": CaseSpec("llama", "bf16", (lora(), dora(("q_proj", "up_proj", "gate_proj"), r=4))),
    "dora-and-lora-bf16": CaseSpec("llama", "bf16", (dora(), lora(("q_proj", "up_proj", "gate_proj"), r=4))),
    "dora-and-lora-conv1d-f32": CaseSpec(
        "gpt2",
        "f32",
        (
            dora(GPT2_TARGETS, options={"fan_in_fan_out": True}),
            lora(("c_attn",), options={"fan_in_fan_out": True}),
            dora(("c_attn", "c_fc"), r=4, options={"fan_in_fan_out": True}),
        ),
    ),
    "lora-and-randlora-f32": CaseSpec(
        "llama", "f32", (lora(), AdapterSpec(r=10, bases="sparse"), lora(("q_proj", "gate_proj"), r=4)), scales=(1.0, 2.0, -0.5)
    ),
    "randlora-and-lora-bf16": CaseSpec("llama", "bf16", (AdapterSpec(r=8, projections="pair"), lora())),
    # VeRA
    "vera-f32": one("llama", "f32", vera(key=3)),
    "vera-bf16": one("llama", "bf16", vera(r=40)),
    "vera-f16-redrawn-huge-key": one("llama", "f16", vera(projections="none", key=2**63 + 12345)),
    "vera-bf16-redrawn-negative-key": one("llama", "bf16", vera(("q_proj", "v_proj"), projections="none", key=-3, r=7)),
    "vera-f32-foreign": one("llama", "f32", vera(projections="foreign", r=9)),
    "vera-f32-rank-above-sizes": one("llama", "f32", vera(r=300)),
    "vera-f32-rank-1": one("llama", "f32", vera(("down_proj",), r=1)),
    "vera-bf16-stored-bf16": one("llama", "bf16", vera(stored="bf16")),
    "vera-bf16-large-delta": one("llama", "bf16", vera(ratio=3.0)),
    "vera-conv1d-f32": one("gpt2", "f32", vera(GPT2_TARGETS, r=10, options={"fan_in_fan_out": True})),
    "vera-conv1d-bf16-redrawn": one(
        "gpt2", "bf16", vera(GPT2_TARGETS, projections="none", options={"fan_in_fan_out": True})
    ),
    "vera-regex-layers-f32": one("llama", "f32", vera(REGEX, r=4)),
    "vera-all-linear-bf16": one("llama", "bf16", vera("all-linear", projections="none")),
    "vera-saved-and-biases-f32": one(
        "qwen2", "f32", vera(("q_proj", "v_proj"), options={"bias": "vera_only", "modules_to_save": ["norm"]})
    ),
    "vera-tied-lm-head-bf16": one("llama-tied", "bf16", vera(("q_proj", "lm_head"))),
    "vera-to-bf16": one("llama", "f32", vera(), scales=(0.5,), out_dtype="bf16"),
    "vera-randlora-and-lora-f32": CaseSpec(
        "llama", "f32", (vera(projections="none"), AdapterSpec(r=10, bases="sparse"), lora(("q_proj",))), scales=(1.0, 2.0, -0.5)
    ),
    "three-adapters-f16": CaseSpec(
        "llama",
        "f16",
        (AdapterSpec(key=1), AdapterSpec(r=8, bases="very_sparse"), AdapterSpec(("q_proj",), projections="copies")),
    ),
}
