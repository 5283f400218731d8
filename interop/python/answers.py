"""What transformers says of a real model, in f32: the prompts that ours must understand and continue alike."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from adapters import load_base
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

TEXTS = [
    "Once upon a time, there was a little girl named Lily.",
    "Tom and his dog went to the park. They saw a big",
    'The cat sat on the mat and looked at the bird. "Hello," said the bird.',
]
CHATS = [
    [{"role": "user", "content": "What is the capital of France?"}],
    [
        {"role": "system", "content": "You answer in one short sentence."},
        {"role": "user", "content": "Why is the sky blue?"},
    ],
    [
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "Hello Ada!"},
        {"role": "user", "content": "What is my name?"},
    ],
]
NEW_TOKENS = 64


def answer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> dict[str, Any]:
    """The 16 largest logits after a prompt, the mean negative log-likelihood of its own tokens, its hidden states, what follows greedily."""
    tokens = torch.tensor([ids])
    with torch.no_grad():
        logits = model(tokens, use_cache=False).logits[0].double()
        states = model.model(tokens, use_cache=False).last_hidden_state[0].double()
        mask = torch.ones_like(tokens)
        made = model.generate(tokens, attention_mask=mask, max_new_tokens=NEW_TOKENS, do_sample=False)
    greedy = made[0, len(ids) :].tolist()
    top = logits[-1].topk(16)
    return {
        "ids": ids,
        "nll": torch.nn.functional.cross_entropy(logits[:-1], tokens[0, 1:]).item(),
        "top_ids": top.indices.tolist(),
        "top_logits": top.values.tolist(),
        "mean_state": states.mean(0).tolist(),
        "last_state": states[-1].tolist(),
        "greedy_ids": greedy,
        "greedy_text": tokenizer.decode(greedy, skip_special_tokens=True),
    }


@cache
def answers(model: str) -> dict[str, Any]:
    """To each of TEXTS, and to each of CHATS through the model's template."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    loaded = load_base(Path(model), torch.float32).eval()
    texts = [{"text": text, **answer(loaded, tokenizer, tokenizer.encode(text))} for text in TEXTS]
    chats = []
    for messages in CHATS:
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids = tokenizer.encode(prompt, add_special_tokens=False)
        chats.append({"messages": messages, "prompt": prompt, **answer(loaded, tokenizer, ids)})
    return {"texts": texts, "chats": chats}
