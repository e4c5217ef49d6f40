"""Blocks of the side network: the backbone's own class at a fraction of its widths."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn
from transformers import PreTrainedConfig

from nlpkit.ladder_side_tuning.blocks.block_family import BlockFamily
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.training.attention import SDPA_IN_FP32


class NarrowedConfig:
    """A view of a model's configuration in which only the widths differ.

    A view and not a copy: blocks read the kind of attention from their configuration when they run, and after
    ``model.set_attn_implementation`` the side blocks must follow, since they share the backbone's masks. Where the
    backbone's attention is ``"sdpa"``, theirs is ``nlpkit.training.attention.sdpa_in_fp32``, which takes the same
    masks: narrow heads gain nothing from bf16, and its backward pass is several times slower on CPUs.

    Example:
        >>> from types import SimpleNamespace
        >>> config = SimpleNamespace(hidden_size=64, hidden_act="gelu")
        >>> narrowed = NarrowedConfig(config, {"hidden_size": 8})
        >>> config.hidden_act = "relu"
        >>> narrowed.hidden_size, narrowed.hidden_act
        (8, 'relu')
    """

    def __init__(self, config: Any, changed: Mapping[str, Any]) -> None:
        self.__dict__.update(changed)
        self._config = config

    @property
    def _attn_implementation(self) -> str | None:
        name: str | None = self._config._attn_implementation
        return SDPA_IN_FP32 if name == "sdpa" else name

    def __getattr__(self, name: str) -> Any:
        # Before _config is there (copying, unpickling) Python asks for special methods only.
        if name == "_config" or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(name)
        return getattr(self._config, name)


def build_narrow_block(
    block: nn.Module,
    stack_config: PreTrainedConfig,
    family: BlockFamily,
    config: LadderConfig,
    index: int,
    first: bool,
) -> nn.Module:
    """Build a block of the same class as the backbone's at a fraction of its widths, with fresh weights.

    Args:
        block: the backbone's.
        stack_config: configuration that the backbone's block was built from.
        family: kind of the block.
        config: of the ladder.
        index: its place in the stack.
        first: whether it is the first side block, which holds the relative position bias where the backbone has one.

    Returns:
        The block, in training mode.

    Raises:
        ValueError: the reduction does not divide a width, or leaves a part of a head.
    """
    changed = _narrow_settings(type(block).__name__, stack_config, family, config.reduction)
    if family.attention_dropout is not None:
        changed[family.attention_dropout] = config.attention_dropout
    parameters = inspect.signature(type(block)).parameters
    settings: dict[str, Any] = {"layer_idx": index, "has_relative_attention_bias": first}
    return type(block)(
        NarrowedConfig(stack_config, changed),
        **{name: value for name, value in settings.items() if name in parameters},
    )


def _narrow_settings(
    block: str, stack_config: PreTrainedConfig, family: BlockFamily, reduction: int
) -> dict[str, Any]:
    """The settings in which a side block differs from the backbone's, by name."""
    divisors = family.divisors(stack_config, reduction)
    sizes = {name: size for name in divisors if (size := getattr(stack_config, name, None)) is not None}
    for name, size in sizes.items():
        if size % divisors[name]:
            fitting = ", ".join(map(str, _fitting_reductions(sizes, stack_config, family)))
            raise ValueError(
                f"reduction={reduction} does not divide {name} of {block}: {size} / {divisors[name]}; "
                f"use one of {fitting}"
            )
    changed = {name: size // divisors[name] for name, size in sizes.items()}
    # Blocks may read a setting by either of its names.
    aliases: Mapping[str, str] = getattr(stack_config, "attribute_map", {})
    return changed | {alias: changed[name] for alias, name in aliases.items() if name in changed}


def _fitting_reductions(sizes: Mapping[str, int], stack_config: PreTrainedConfig, family: BlockFamily) -> list[int]:
    return [
        reduction
        for reduction in range(1, max(sizes.values()) + 1)
        if all(sizes.get(name, 0) % divisor == 0 for name, divisor in family.divisors(stack_config, reduction).items())
    ]
