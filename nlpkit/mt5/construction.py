"""A fresh mT5 whose head is a matrix of its own, as mT5's is."""

from __future__ import annotations

import torch
from transformers import MT5Config, MT5ForConditionalGeneration


def new_mt5(config: MT5Config) -> MT5ForConditionalGeneration:
    """An mT5 with random weights and an untied head.

    ``MT5ForConditionalGeneration(config)`` of transformers 5 ties the head to the embedding, whatever the settings
    say, and does not scale the logits down as a tied T5 does.

    Source: mT5 (arXiv 2010.11934) after T5 v1.1, which took the head apart from the embedding.

    Args:
        config: its ``tie_word_embeddings`` is of no effect, in transformers either.

    Returns:
        The model, in training mode. The head is drawn with a standard deviation of ``d_model ** -0.5``: the states
        before it have unit root mean square, so logits begin with unit variance and the loss near ``log(vocab_size)``.
        Saved and loaded, it stays untied, since both matrices are in the file; transformers then logs that it does
        not tie them.

    Raises:
        TypeError: the settings are another model's.

    Note:
        Weights are drawn from torch's global generator: seed it.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> model = new_mt5(MT5Config(vocab_size=99, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2))
        >>> model.lm_head.weight is model.shared.weight
        False
        >>> ids = torch.arange(3, 33).view(2, 15)
        >>> round(model(input_ids=ids, labels=ids).loss.item(), 1)  # log(99) is 4.6, and half the variance 0.5
        5.1
    """
    if not isinstance(config, MT5Config):
        raise TypeError(f"config must be an MT5Config, got {type(config).__name__}; other models have their own heads")
    model = MT5ForConditionalGeneration(config)
    weight = torch.empty_like(model.shared.weight)
    deviation = config.initializer_factor * config.d_model**-0.5
    model.lm_head.weight = torch.nn.Parameter(weight.normal_(std=deviation))
    model.all_tied_weights_keys.pop("lm_head.weight", None)  # else saving leaves it out on some paths
    return model.train()
