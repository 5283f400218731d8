"""Token ids and loss masks of chats by transformers, which takes them from {% generation %} in a chat template."""

from __future__ import annotations

from typing import Any

from transformers import AutoTokenizer


def chat_samples(tokenizer: str, template: str, chats: list[list[dict[str, Any]]]) -> list[dict[str, list[int]]]:
    """Ids, and 1 for each token of an assistant's turn, of every chat."""
    loaded = AutoTokenizer.from_pretrained(tokenizer)
    samples = []
    for messages in chats:
        made = loaded.apply_chat_template(
            messages, chat_template=template, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        samples.append({"ids": list(made["input_ids"]), "supervised": list(made["assistant_masks"])})
    return samples
