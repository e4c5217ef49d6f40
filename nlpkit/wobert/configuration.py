"""Configuration of WoBERT models: a BERT whose tokens are words."""

from __future__ import annotations

from transformers import BertConfig


class WoBertConfig(BertConfig):
    """BERT's configuration under a model type of its own, so that Auto classes find nlpkit's tokenizer and models.

    Source: WoBERT (kexue.fm/archives/7758); ``sparse_prediction`` is ModernBERT's name for the same switch.

    Args:
        sparse_prediction: with labels given, compute the MLM head and its vocabulary-wide logits at labelled
            positions only. Saves most of the head's time and memory in pre-training; ``logits`` then has shape
            ``(labelled, vocab)`` instead of ``(batch, length, vocab)``.

    Example:
        >>> WoBertConfig(vocab_size=33586).model_type
        'wobert'
    """

    model_type = "wobert"
    sparse_prediction: bool = False
