"""What Python's `gguf` package makes of a model folder: the yardstick of `convert --to gguf`. Names, rounding and the format
are the package's own; what stands in the metadata follows llama.cpp's convert_hf_to_gguf.py."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFReader
from safetensors.torch import load_file
from transformers import AutoConfig, PreTrainedTokenizerFast

ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mistral": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "phi3": gguf.MODEL_ARCH.PHI3,
    "gemma2": gguf.MODEL_ARCH.GEMMA2,
    "gemma3_text": gguf.MODEL_ARCH.GEMMA3,
    "gemma": gguf.MODEL_ARCH.GEMMA,
    "olmo2": gguf.MODEL_ARCH.OLMO2,
    "granite": gguf.MODEL_ARCH.GRANITE,
    "seed_oss": gguf.MODEL_ARCH.SEED_OSS,
    "smollm3": gguf.MODEL_ARCH.SMOLLM3,
    "gemma3": gguf.MODEL_ARCH.GEMMA3,
    "olmo3": gguf.MODEL_ARCH.OLMO2,
    "exaone4": gguf.MODEL_ARCH.EXAONE4,
    "starcoder2": gguf.MODEL_ARCH.STARCODER2,
    "gpt2": gguf.MODEL_ARCH.GPT2,
    "glm4": gguf.MODEL_ARCH.GLM4,
    "cohere2": gguf.MODEL_ARCH.COHERE2,
    "lfm2": gguf.MODEL_ARCH.LFM2,
    "mixtral": gguf.MODEL_ARCH.LLAMA,
    "qwen3_moe": gguf.MODEL_ARCH.QWEN3MOE,
    "olmoe": gguf.MODEL_ARCH.OLMOE,
    "granitemoe": gguf.MODEL_ARCH.GRANITE_MOE,
    "ministral": gguf.MODEL_ARCH.LLAMA,
    "ministral3": gguf.MODEL_ARCH.MISTRAL3,
    "mistral3": gguf.MODEL_ARCH.MISTRAL3,
    "granitemoehybrid": gguf.MODEL_ARCH.GRANITE,
    "qwen2_moe": gguf.MODEL_ARCH.QWEN2MOE,
    "lfm2_moe": gguf.MODEL_ARCH.LFM2MOE,
    "qwen3_next": gguf.MODEL_ARCH.QWEN3NEXT,
    "qwen3_5_text": gguf.MODEL_ARCH.QWEN35,
    "qwen3_5": gguf.MODEL_ARCH.QWEN35,
    "gpt_oss": gguf.MODEL_ARCH.GPT_OSS,
    "gemma4_text": gguf.MODEL_ARCH.GEMMA4,
    "gemma4": gguf.MODEL_ARCH.GEMMA4,
}
TYPES = {
    "f32": GGMLQuantizationType.F32,
    "f16": GGMLQuantizationType.F16,
    "bf16": GGMLQuantizationType.BF16,
    "q8_0": GGMLQuantizationType.Q8_0,
    "q4_0": GGMLQuantizationType.Q4_0,
}
FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7, "bf16": 32}
STORED = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def tensors(folder: Path, config: Any, outtype: str) -> dict[str, tuple[GGMLQuantizationType, np.ndarray]]:
    """By name: type, and bytes of every row."""
    text = config.get_text_config()
    names = gguf.get_tensor_name_map(ARCHITECTURES[config.model_type], text.num_hidden_layers)
    written: dict[str, tuple[GGMLQuantizationType, np.ndarray]] = {}

    def add(name: str, weight: torch.Tensor, kind: GGMLQuantizationType) -> None:
        values = weight.float().numpy()
        try:
            data = gguf.quants.quantize(values, kind)
        except gguf.QuantError:
            kind = GGMLQuantizationType.F16
            data = gguf.quants.quantize(values, kind)
        written[name] = (kind, np.ascontiguousarray(data).view(np.uint8))

    weights = {name: weight for file in sorted(folder.glob("*.safetensors")) for name, weight in load_file(file).items()}
    if config.model_type == "gpt_oss":
        weights, blocks = unpacked(weights)
        for name in [name for name in weights if ".experts." in name]:
            weight = weights.pop(name)
            for part, values in of_gpt_oss(name, weight if name.endswith("_bias") else weight.mT).items():
                add(part, values, TYPES["f32" if name.endswith("_bias") else STORED[weight.dtype] if outtype == "keep" else outtype])
            if outtype == "keep" and name in blocks:
                written |= {part: (GGMLQuantizationType.MXFP4, some.numpy()) for part, some in of_gpt_oss(name, blocks[name]).items()}
    for name, weight in with_stacked_experts(weights).items():
        if (name == "lm_head.weight" and config.tie_word_embeddings) or re.match(r"(?:model\.)?(?:vision_tower|multi_modal_projector|visual|embed_vision)\.", name):
            continue
        name = re.sub(r"^(?:language_model\.model|model\.language_model)\.", "model.", name)
        name = name.removeprefix("language_model.") if name.endswith("lm_head.weight") else name
        if ".linear_attn." in name:
            for part, (exact, values) in delta_rule(name, weight, text).items():
                add(part, values, TYPES["f32" if exact else STORED[weight.dtype] if outtype == "keep" else outtype])
            continue
        name = name.replace(".expert_bias", ".expert_bias.bias")
        name += ".weight" if name.endswith((".sinks", ".layer_scalar")) else ""
        target = name if name.startswith("blk.") else names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert target is not None, name
        kind = TYPES[STORED[weight.dtype] if outtype == "keep" else outtype]
        if target.endswith(("ffn_gate_inp.weight", "ffn_gate_inp_shexp.weight", "shortconv.conv.weight")):
            kind, weight = TYPES["f32"], weight.squeeze()
        if ARCHITECTURES[config.model_type].name in ("LLAMA", "MISTRAL3", "SMOLLM3", "GRANITE", "GRANITE_MOE"):
            if ".q_proj." in name:
                weight = permuted(weight, text.num_attention_heads)
            if ".k_proj." in name:
                weight = permuted(weight, text.num_key_value_heads)
        if config.model_type == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            weight = weight.T
        if target == "position_embd.weight":
            kind = TYPES["f32"]
        if weight.dim() == 1:
            kind = TYPES["f32"]
            weight = weight.float() + (1 if config.model_type.startswith(("gemma", "qwen3_next", "qwen3_5")) and not config.model_type.startswith("gemma4") and name.endswith("norm.weight") else 0)
        add(target, weight, kind)
    rope = getattr(text, "rope_parameters", None) or {}
    if rope.get("rope_type") == "llama3":
        add("rope_freqs.weight", llama3_factors(config), TYPES["f32"])
    if ARCHITECTURES[config.model_type] == gguf.MODEL_ARCH.GEMMA4:
        size = text.per_layer_config["full_attention"].head_dim
        turned = int(rope["full_attention"]["partial_rotary_factor"] * size / 2)
        add("rope_freqs.weight", torch.tensor([1.0] * turned + [1e30] * (size // 2 - turned)), TYPES["f32"])
    if rope.get("rope_type") == "longrope":
        add("rope_factors_long.weight", torch.tensor(rope["long_factor"]), TYPES["f32"])
        add("rope_factors_short.weight", torch.tensor(rope["short_factor"]), TYPES["f32"])
    return written


def unpacked(weights: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Experts in MXFP4 as bf16, and as gguf's blocks: the scale, then of each byte's halves one of the first 16 numbers and one of the last."""
    e2m1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    others = {name: weight for name, weight in weights.items() if not name.endswith(("_blocks", "_scales"))}
    blocks = {}
    for packed in weights.keys() - others.keys():
        if not packed.endswith("_blocks"):
            continue
        name = packed.removesuffix("_blocks")
        scales = weights[f"{name}_scales"].unsqueeze(-1)
        halves = torch.stack([weights[packed] & 15, weights[packed] >> 4], dim=-1).flatten(-2)
        blocks[name] = torch.cat([scales, halves[..., :16] | halves[..., 16:] << 4], dim=-1).flatten(-2)
        values = torch.cat([e2m1, -e2m1])[halves.long()] * torch.exp2(scales.float() - 127)
        others[name] = values.flatten(-2).mT.to(torch.bfloat16)
    return others, blocks


def of_gpt_oss(name: str, rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """By gguf's name, of a tensor of experts that has a neuron's gate and up side by side."""
    begin = f"blk.{re.search(r'layers.([0-9]+)', name)[1]}.ffn_"
    end = "bias" if name.endswith("_bias") else "weight"
    if "gate_up_proj" in name:
        return {f"{begin}gate_exps.{end}": rows[:, ::2].contiguous(), f"{begin}up_exps.{end}": rows[:, 1::2].contiguous()}
    return {f"{begin}down_exps.{end}": rows.contiguous()}


def delta_rule(name: str, weight: torch.Tensor, config: Any) -> dict[str, tuple[bool, torch.Tensor]]:
    """By gguf's name: whether it is stored in f32, and the weight, as convert_hf_to_gguf.py has it of Qwen3-Next and Qwen 3.5."""
    layer, part = re.search(r"layers\.(\d+)\.linear_attn\.(.+)$", name).groups()
    keys, heads, size = config.linear_num_key_heads, config.linear_num_value_heads, config.linear_value_head_dim
    key_rows, shared = keys * config.linear_key_head_dim, heads // keys
    begin = f"blk.{layer}."
    if part == "in_proj_qkvz.weight":
        split = [config.linear_key_head_dim, config.linear_key_head_dim, shared * size, shared * size]
        q, k, v, z = (one.reshape(-1, weight.shape[1]) for one in weight.view(keys, -1, weight.shape[1]).split(split, dim=1))
        return {f"{begin}attn_qkv.weight": (False, torch.cat([q, k, v])), f"{begin}attn_gate.weight": (False, z)}

    def tiled(values: torch.Tensor, axis: int = 0, size: int = size) -> torch.Tensor:
        if config.model_type == "qwen3_next":
            return values
        shape = values.shape
        return values.reshape(*shape[:axis], keys, shared, size, *shape[axis + 1 :]).transpose(axis, axis + 1).reshape(shape)

    def behind(values: torch.Tensor) -> torch.Tensor:
        return torch.cat([values[: 2 * key_rows], tiled(values[2 * key_rows :])])

    match part:
        case "in_proj_qkv.weight":
            return {f"{begin}attn_qkv.weight": (False, behind(weight))}
        case "in_proj_z.weight":
            return {f"{begin}attn_gate.weight": (False, tiled(weight))}
        case "in_proj_ba.weight":
            return {f"{begin}ssm_ba.weight": (False, weight)}
        case "in_proj_b.weight":
            return {f"{begin}ssm_beta.weight": (False, tiled(weight, size=1))}
        case "in_proj_a.weight":
            return {f"{begin}ssm_alpha.weight": (False, tiled(weight, size=1))}
        case "A_log":
            return {f"{begin}ssm_a": (True, tiled(-torch.exp(weight.double()), size=1))}
        case "dt_bias":
            return {f"{begin}ssm_dt.bias": (True, tiled(weight, size=1))}
        case "conv1d.weight":
            return {f"{begin}ssm_conv1d.weight": (True, behind(weight.squeeze(1)))}
        case "norm.weight":
            return {f"{begin}ssm_norm.weight": (True, weight)}
        case "out_proj.weight":
            return {f"{begin}ssm_out.weight": (False, tiled(weight, axis=1))}
    raise ValueError(name)


def with_stacked_experts(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The matrices of all experts in one tensor of each kind, by gguf's names."""
    kinds = {"w1": "gate", "gate_proj": "gate", "w3": "up", "up_proj": "up", "w2": "down", "down_proj": "down"}
    others: dict[str, torch.Tensor] = {}
    experts: dict[str, dict[int, torch.Tensor]] = {}
    for name, weight in weights.items():
        layer = re.search(r"\.layers\.(\d+)\.", name)
        begin = layer and f"blk.{layer[1]}.ffn_"
        if one := re.search(r"\.experts\.(\d+)\.(\w+)\.weight$", name):
            experts.setdefault(f"{begin}{kinds[one[2]]}_exps.weight", {})[int(one[1])] = weight
        elif name.endswith("shared_mlp.input_linear.weight"):
            others[f"{begin}gate.weight"], others[f"{begin}up.weight"] = weight.chunk(2)
        elif name.endswith("shared_mlp.output_linear.weight"):
            others[f"{begin}down.weight"] = weight
        elif re.search(r"\.layers\.\d+\.experts\.gate_up_proj$", name):
            others[f"{begin}gate_up_exps.weight"] = weight
        elif name.endswith((".router.scale", ".router.per_expert_scale")):
            others[f"{begin}{'gate_inp' if name.endswith('.router.scale') else 'down_exps'}.scale"] = weight
        elif name.endswith((".input_linear.weight", ".experts.gate_up_proj")):
            others[f"{begin}gate_exps.weight"], others[f"{begin}up_exps.weight"] = weight.chunk(2, dim=1)
        elif name.endswith((".output_linear.weight", ".experts.down_proj")):
            others[f"{begin}down_exps.weight"] = weight
        else:
            others[name] = weight
    return others | {name: torch.stack([of[index] for index in sorted(of)]) for name, of in experts.items()}


def llama3_factors(config: Any) -> torch.Tensor:
    rope = config.rope_parameters
    frequencies = 1.0 / (rope["rope_theta"] ** (torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim))
    old, factor, low, high = (rope[key] for key in ("original_max_position_embeddings", "factor", "low_freq_factor", "high_freq_factor"))
    factors = []
    for frequency in frequencies:
        wavelength = 2 * math.pi / frequency
        smooth = (old / wavelength - low) / (high - low)
        between = 1 / ((1 - smooth) / factor + smooth)
        factors.append(1 if wavelength < old / high else factor if wavelength > old / low else between)
    return torch.tensor(factors, dtype=torch.float32)


def gpt2_metadata(config: Any) -> dict[str, Any]:
    values = {
        "block_count": config.n_layer,
        "context_length": config.n_positions,
        "embedding_length": config.n_embd,
        "feed_forward_length": config.n_inner or 4 * config.n_embd,
        "attention.head_count": config.n_head,
        "attention.layer_norm_epsilon": np.float32(config.layer_norm_epsilon),
    }
    return {f"gpt2.{key}": value for key, value in values.items()} | {"general.architecture": "gpt2"}


def decoder_metadata(whole: Any) -> dict[str, Any]:
    kind, config = whole.model_type, whole.get_text_config()
    # Of Gemma 4 what is said here are the layers with a window.
    config.allow_global_per_layer_attribute_access = True
    arch = gguf.MODEL_ARCH_NAMES[ARCHITECTURES[kind]]
    if kind == "gpt2":
        return gpt2_metadata(config)
    rope = config.rope_parameters
    full = rope.get("full_attention", rope)
    values: dict[str, Any] = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
    }
    if kind in ("cohere2", "starcoder2"):
        values["attention.layer_norm_epsilon"] = np.float32(config.layer_norm_eps if kind == "cohere2" else config.norm_epsilon)
    else:
        values["attention.layer_norm_rms_epsilon"] = np.float32(config.norm_eps if kind.startswith("lfm2") else config.rms_norm_eps)
    if kind not in ("phi3", "granite", "granitemoe", "granitemoehybrid") and getattr(config, "head_dim", None) is not None:
        values |= {"attention.key_length": config.head_dim, "attention.value_length": config.head_dim}
    if kind != "gemma2" and getattr(config, "position_embedding_type", "rope") == "rope":
        values["rope.freq_base"] = np.float32(full["rope_theta"])
    head_size = config.hidden_size // config.num_attention_heads
    if arch in ("llama", "mistral3", "smollm3", "granite", "granitemoe", "cohere2", "exaone4", "lfm2", "lfm2moe"):
        values["vocab_size"] = config.vocab_size
    if arch in ("llama", "mistral3", "smollm3", "granite", "granitemoe", "cohere2", "glm4", "qwen3next", "qwen35"):
        part = rope["partial_rotary_factor"] if arch in ("glm4", "qwen3next", "qwen35") else 1
        values["rope.dimension_count"] = head_size if arch.startswith("granite") else int(config.head_dim * part)
    if kind.startswith("lfm2"):
        values |= {
            "shortconv.l_cache": config.conv_L_cache,
            "attention.head_count_kv": [config.num_key_value_heads if one == "full_attention" else 0 for one in config.layer_types],
        }
    if kind == "cohere2":
        values |= {"logit_scale": np.float32(config.logit_scale), "attention.sliding_window": config.sliding_window, "rope.scaling.type": "none"}
    if kind in ("olmo3", "exaone4") and config.sliding_window is not None:
        values |= {
            "attention.sliding_window": config.sliding_window,
            "attention.sliding_window_pattern": [one == "sliding_attention" for one in config.layer_types],
        }
    if kind == "olmo3":
        values["rope.freq_base_swa"] = np.float32(rope["sliding_attention"]["rope_theta"])
    if kind in ("mixtral", "qwen2_moe", "qwen3_moe", "qwen3_next", "lfm2_moe", "olmoe", "granitemoe", "gpt_oss"):
        count = config.num_local_experts if kind in ("mixtral", "granitemoe", "gpt_oss") else config.num_experts
        values |= {"expert_count": count, "expert_used_count": config.num_experts_per_tok}
    if kind in ("qwen2_moe", "qwen3_moe", "qwen3_next", "lfm2_moe"):
        values["expert_feed_forward_length"] = config.moe_intermediate_size
    if kind in ("qwen2_moe", "qwen3_next"):
        values["expert_shared_feed_forward_length"] = config.shared_expert_intermediate_size
    if kind == "lfm2_moe":
        values |= {"leading_dense_block_count": config.num_dense_layers, "expert_gating_func": int(gguf.ExpertGatingFuncType.SIGMOID)}
    if arch in ("qwen3next", "qwen35"):
        values |= {
            "ssm.conv_kernel": config.linear_conv_kernel_dim,
            "ssm.state_size": config.linear_key_head_dim,
            "ssm.group_count": config.linear_num_key_heads,
            "ssm.time_step_rank": config.linear_num_value_heads,
            "ssm.inner_size": config.linear_value_head_dim * config.linear_num_value_heads,
            "full_attention_interval": 4,
        }
    if arch == "qwen35":
        pairs = values["rope.dimension_count"] // 2
        values["rope.dimension_sections"] = [len(range(part, pairs, 3)) for part in range(3)] + [0]
    if kind == "granitemoehybrid":
        values["rope.scaling.finetuned"] = config.position_embedding_type == "rope"
    if "llama_4_scaling_beta" in rope:
        values |= {"attention.temperature_scale": np.float32(rope["llama_4_scaling_beta"]), "rope.scaling.yarn_log_multiplier": np.float32(rope["mscale_all_dim"])}
    if kind == "gpt_oss":
        values |= {"expert_feed_forward_length": config.intermediate_size, "attention.sliding_window": config.sliding_window}
    if arch == "gemma4":
        values |= gemma4_metadata(config)
    if kind in ("granite", "granitemoe", "granitemoehybrid"):
        values |= {
            "attention.scale": np.float32(config.attention_multiplier),
            "embedding_scale": np.float32(config.embedding_multiplier),
            "residual_scale": np.float32(config.residual_multiplier),
            "logit_scale": np.float32(config.logits_scaling),
        }
    if arch == "gemma3":
        values |= {"rope.freq_base_swa": np.float32(rope["sliding_attention"]["rope_theta"]), "attention.sliding_window": config.sliding_window}
    if kind == "gemma2":
        values |= {
            "attention.sliding_window": config.sliding_window,
            "attn_logit_softcapping": np.float32(config.attn_logit_softcapping),
            "final_logit_softcapping": np.float32(config.final_logit_softcapping),
        }
    if kind == "phi3":
        values |= {
            "rope.dimension_count": config.hidden_size // config.num_attention_heads,
            "rope.scaling.original_context_length": config.original_max_position_embeddings,
            "attention.sliding_window": config.sliding_window or 0,
        }
        if rope["rope_type"] == "longrope":
            trained = config.original_max_position_embeddings
            scale = config.max_position_embeddings / trained
            values["rope.scaling.attn_factor"] = np.float32(math.sqrt(1 + math.log(scale) / math.log(trained)))
    elif full.get("rope_type") == "linear":
        values |= {"rope.scaling.type": "linear", "rope.scaling.factor": np.float32(rope["factor"])}
    elif full.get("rope_type") == "yarn":
        values |= {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": np.float32(full["factor"]),
            "rope.scaling.original_context_length": full["original_max_position_embeddings"],
            "rope.scaling.yarn_beta_fast": np.float32(full.get("beta_fast") or 32),
            "rope.scaling.yarn_beta_slow": np.float32(full.get("beta_slow") or 1),
        }
        if full.get("attention_factor") is not None:
            # What multiplies llama.cpp's own factor.
            values["rope.scaling.attn_factor"] = np.float32(full["attention_factor"] / (0.1 * math.log(full["factor"]) + 1))
    return {f"{arch}.{key}": value for key, value in values.items()} | {"general.architecture": arch}


def gemma4_metadata(config: Any) -> dict[str, Any]:
    full = config.per_layer_config["full_attention"]
    slides = [one == "sliding_attention" for one in config.layer_types]
    own, inner = config.num_hidden_layers - config.num_kv_shared_layers, config.intermediate_size
    values: dict[str, Any] = {
        "attention.key_length": full.head_dim,
        "attention.value_length": full.head_dim,
        "attention.key_length_swa": config.head_dim,
        "attention.value_length_swa": config.head_dim,
        "rope.dimension_count": full.head_dim,
        "rope.dimension_count_swa": config.head_dim,
        "rope.freq_base_swa": np.float32(config.rope_parameters["sliding_attention"]["rope_theta"]),
        "attention.sliding_window": config.sliding_window,
        "attention.sliding_window_pattern": slides,
        "attention.shared_kv_layers": config.num_kv_shared_layers,
        "embedding_length_per_layer_input": config.hidden_size_per_layer_input,
    }
    if full.num_key_value_heads != config.num_key_value_heads:
        values["attention.head_count_kv"] = [config.num_key_value_heads if one else full.num_key_value_heads for one in slides]
    if config.use_double_wide_mlp:
        values["feed_forward_length"] = [inner if layer < own else 2 * inner for layer in range(config.num_hidden_layers)]
    # Where a file says none, llama.cpp caps at 30.
    values["final_logit_softcapping"] = np.float32(config.final_logit_softcapping or 0)
    if config.enable_moe_block:
        values |= {"expert_count": config.num_experts, "expert_used_count": config.top_k_experts, "expert_feed_forward_length": config.moe_intermediate_size}
    return values


# Of Gemma 4's control tokens those that llama.cpp's converter (Gemma4Model.set_vocab) has user-defined.
GEMMA4_SHOWN = {"<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>'}


def tokenizer_metadata(folder: Path, size: int, merged: bool) -> dict[str, Any]:
    """Tokens and their kinds as transformers knows them."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    added = tokenizer.added_tokens_decoder
    file = json.loads((folder / "tokenizer.json").read_text())
    spm = file["model"].get("byte_fallback", False)
    known = {id: token for token, id in tokenizer.get_vocab().items()}
    tokens, kinds = [], []
    for id in range(size):
        token = known.get(id, f"[PAD{id}]")
        if id not in known:
            kind = gguf.TokenType.UNUSED
        elif id in added:
            special = added[id].special or bool(re.fullmatch(r"<pad>|<mask>|<unused.*>|<\|.*\|>", token))
            special = special and not (merged and token in GEMMA4_SHOWN)
            kind = gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED
            token = token if special else token.replace("▁", " ")
        elif spm and token.startswith("<0x"):
            kind = gguf.TokenType.BYTE
        else:
            kind = gguf.TokenType.NORMAL
        tokens.append(token)
        kinds.append(int(kind))
    values: dict[str, Any] = {
        "tokenizer.ggml.model": "gemma4" if merged else "llama" if spm else "gpt2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.chat_template": tokenizer.chat_template,
    }
    if merged or not spm:
        values["tokenizer.ggml.merges"] = gguf.SpecialVocab(folder, load_merges=True).merges
    return values


def gguf_differences(file: str, base: str, outtype: str) -> list[str]:
    """How our file differs from what gguf makes of the folder `base`."""
    folder = Path(base)
    config = AutoConfig.from_pretrained(folder)
    reader = GGUFReader(file)
    found: list[str] = []
    wanted = tensors(folder, config, outtype)
    ours = {tensor.name: tensor for tensor in reader.tensors}
    found += [f"tensor {name} is in one file alone" for name in ours.keys() ^ wanted.keys()]
    for name in ours.keys() & wanted.keys():
        kind, data = wanted[name]
        if ours[name].tensor_type != kind:
            found.append(f"{name}: {ours[name].tensor_type.name}, not {kind.name}")
        elif not np.array_equal(ours[name].data.view(np.uint8).reshape(-1), data.reshape(-1)):
            found.append(f"{name}: other bytes")
    matrices = [TYPES[STORED[config.dtype] if outtype == "keep" else outtype]]
    expected = decoder_metadata(config) | tokenizer_metadata(folder, config.get_text_config().vocab_size, config.model_type.startswith("gemma4"))
    expected |= {"general.type": "model", "general.quantization_version": 2}
    expected["general.file_type"] = next(FILE_TYPES[name] for name, kind in TYPES.items() if kind == matrices[0])
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    for key, value in expected.items():
        if key not in fields:
            found.append(f"{key} is missing")
        elif fields[key] != value:
            found.append(f"{key}: {str(fields[key])[:80]}, not {str(value)[:80]}")
    own = ("general.name", "tokenizer.ggml.pre", "tokenizer.ggml.scores", "tokenizer.ggml.add_", "tokenizer.ggml.bos", "tokenizer.ggml.eos", "tokenizer.ggml.unknown", "tokenizer.ggml.padding")
    found += [f"{key} is in ours alone" for key in fields.keys() - expected.keys() if not key.startswith(own)]
    return found


def gguf_write(out: str, ours: str, base: str, outtype: str) -> None:
    """Writes the folder `base` with gguf's own writer: its tensors and settings, and the tokenizer as our file `ours` has it."""
    folder = Path(base)
    config = AutoConfig.from_pretrained(folder)
    fields = GGUFReader(ours).fields
    writer = gguf.GGUFWriter(out, gguf.MODEL_ARCH_NAMES[ARCHITECTURES[config.model_type]])
    values = decoder_metadata(config)
    if config.model_type == "granitemoehybrid":
        # llama.cpp's converter says it of each layer, as of models that have attention in some.
        values["granite.attention.head_count_kv"] = [config.num_key_value_heads] * config.num_hidden_layers
    for key, value in values.items():
        if isinstance(value, str) and key != "general.architecture":
            writer.add_string(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, np.float32):
            writer.add_float32(key, float(value))
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, list):
            writer.add_array(key, value)
    for key, field in fields.items():
        if key.startswith("tokenizer."):
            kind, *of = field.types
            writer.add_key_value(key, field.contents(), kind, sub_type=of[-1] if of else None)
    for name, (kind, data) in tensors(folder, config, outtype).items():
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
