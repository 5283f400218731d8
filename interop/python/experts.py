"""The experts of gpt-oss as linear layers, which PEFT has every method for: transformers has them as parameters of all."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import PreTrainedModel
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts

NAMES = ("gate_up_proj", "down_proj")


class Experts(torch.nn.ModuleDict):
    """What GptOssExperts computes, each expert's two matrices a module of its own."""

    def __init__(self, experts: GptOssExperts) -> None:
        numbers = range(experts.num_experts)
        super().__init__({str(e): torch.nn.ModuleDict({name: linear_of(experts, name, e) for name in NAMES}) for e in numbers})
        self.alpha, self.limit = experts.alpha, experts.limit

    def forward(self, hidden_states: torch.Tensor, router_indices: torch.Tensor, routing_weights: torch.Tensor) -> torch.Tensor:
        out = torch.zeros_like(hidden_states)
        for number, expert in self.items():
            token, place = torch.where(router_indices == int(number))
            gated = GptOssExperts._apply_gate(self, expert["gate_up_proj"](hidden_states[token]))
            out.index_add_(0, token, expert["down_proj"](gated) * routing_weights[token, place, None])
        return out


def linear_of(experts: GptOssExperts, name: str, expert: int) -> torch.nn.Linear:
    weight, bias = (getattr(experts, f"{name}{end}")[expert].detach() for end in ("", "_bias"))
    linear = torch.nn.Linear(*weight.shape, dtype=weight.dtype)
    linear.weight, linear.bias = (torch.nn.Parameter(tensor.clone()) for tensor in (weight.T, bias))
    return linear


def apart(model: PreTrainedModel, adapter: str) -> None:
    """Replace the experts of a gpt-oss, where the adapter means no parameters of theirs."""
    config = json.loads((Path(adapter) / "adapter_config.json").read_text())
    if model.config.model_type == "gpt_oss" and not config.get("target_parameters"):
        for layer in model.model.layers:
            layer.mlp.experts = Experts(layer.mlp.experts)


def joined(model: PreTrainedModel) -> None:
    """The way back."""
    for layer in model.model.layers if model.config.model_type == "gpt_oss" else []:
        if not isinstance(layer.mlp.experts, Experts):
            continue
        experts = GptOssExperts(model.config)
        for name in NAMES:
            linears = [expert[name] for expert in layer.mlp.experts.values()]
            setattr(experts, name, torch.nn.Parameter(torch.stack([linear.weight.detach().T for linear in linears])))
            setattr(experts, f"{name}_bias", torch.nn.Parameter(torch.stack([linear.bias.detach() for linear in linears])))
        layer.mlp.experts = experts
