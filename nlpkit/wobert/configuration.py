"""Configuration of WoBERT models: a BERT whose tokens are words."""

from __future__ import annotations

import copy
from os import PathLike
from typing import Any

from transformers import BertConfig


class WoBertConfig(BertConfig):
    """BERT's configuration under a model type of its own, so that Auto classes find nlpkit's tokenizer and models.

    Source: WoBERT (kexue.fm/archives/7758); ``sparse_prediction`` is ModernBERT's name for the same switch.

    Args:
        sparse_prediction: with labels given, compute the MLM head and its vocabulary-wide logits at labelled
            positions only. Saves most of the head's time and memory in pre-training; ``logits`` then has shape
            ``(labelled, vocab)`` instead of ``(batch, length, vocab)``.

    Note:
        Saved beside fp16 weights it declares ``float32``, the dtype in which ``from_pretrained`` then loads them:
        training in fp16 diverges. Models of folders that declare fp16 come in fp32, too. For
        inference in fp16, load with ``dtype="float16"``.

    Example:
        >>> WoBertConfig(vocab_size=33586).model_type
        'wobert'
    """

    model_type = "wobert"
    sparse_prediction: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        # An Auto class that chooses between two models looks through them, and fails on None (transformers 5.23.0).
        self.architectures = self.architectures or []

    def save_pretrained(self, save_directory: str | PathLike[str], push_to_hub: bool = False, **kwargs: Any) -> None:
        """Save ``config.json``, which never asks for fp16.

        Args:
            save_directory: folder, made if it does not exist.
            push_to_hub: whether to upload it, too.
            **kwargs: as for ``PreTrainedConfig.save_pretrained``.
        """
        if str(self.dtype).removeprefix("torch.") != "float16":
            super().save_pretrained(save_directory, push_to_hub, **kwargs)
            return
        declared = copy.deepcopy(self)
        declared.dtype = "float32"
        declared.save_pretrained(save_directory, push_to_hub, **kwargs)
