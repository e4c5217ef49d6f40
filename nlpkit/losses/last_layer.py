"""The linear layer whose outputs are a model's logits, where something is to be folded into it for good."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def last_layer(model: nn.Module, classes: int) -> nn.Linear:
    """The only linear layer of so many outputs outside of a model's encoder.

    Args:
        model: of transformers, with a head.
        classes: how many outputs the layer has.

    Raises:
        ValueError: there is none, or more than one.

    Example:
        >>> last_layer(nn.Sequential(nn.Linear(4, 9), nn.Linear(9, 3)), classes=3)
        Linear(in_features=9, out_features=3, bias=True)
    """
    encoder: Any = getattr(model, "base_model", model)
    within: set[Tensor] = set() if encoder is model else set(encoder.parameters())
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == classes and module.weight not in within
    }
    if len(found) != 1:
        raise ValueError(
            f"{type(model).__name__} has {len(found) or 'no'} linear layers of {classes} outputs outside of its "
            f"encoder ({', '.join(found) or 'none'}): name the one whose outputs are the logits, layer=model.<name>; "
            "of a model of PEFT, call merge_and_unload() first"
        )
    return next(iter(found.values()))


def refuse_folded(model: nn.Module) -> None:
    """A ``ValueError`` where ``fold_zlpr`` or ``fold_priors`` has changed a model's last layer before."""
    config = getattr(model, "config", None)
    if getattr(config, "zlpr_folded", False):
        raise ValueError(
            "the model's logits are those of probabilities already (config.zlpr_folded): fold into it once, as trained"
        )
    if getattr(config, "class_priors", None) is not None:
        raise ValueError(
            "priors are folded into this model already (config.class_priors): fold into it once, as trained"
        )
