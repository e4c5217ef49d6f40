"""Blocks of the side network: the backbone's own class at a fraction of its widths."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.families import BlockFamily
from nlpkit.training.attention import SDPA_IN_FP32


class NarrowedConfig:
    """A view of a model's configuration in which only the widths differ.

    A view and not a copy: blocks read the kind of attention from their configuration when they run, and after
    ``model.set_attn_implementation`` the side blocks must follow, since they share the backbone's masks. Only where
    the backbone's attention is ``"sdpa"`` theirs is :func:`nlpkit.training.attention.sdpa_in_fp32`, which takes the
    same masks: narrow heads gain nothing from bf16, and its backward pass is several times slower on CPUs.

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
    block: nn.Module, stack_config: Any, family: BlockFamily, config: LadderConfig, index: int, first: bool
) -> nn.Module:
    """Build a block of the same class as the backbone's at a fraction of its widths, with fresh weights.

    Args:
        block: the backbone's.
        stack_config: configuration that it was built from.
        family: its kind.
        config: of the ladder.
        index: its place in the stack.
        first: whether it is the first side block, which holds the relative position bias where the backbone has one.

    Returns:
        The block, in training mode.

    Raises:
        ValueError: the reduction does not divide a width or the size of a head.
    """
    reduction = config.reduction
    widths = {name: getattr(stack_config, name) for name in family.narrowed if hasattr(stack_config, name)}
    sizes = {**widths, "the size of a head": family.size_of_head(stack_config)}
    if family.by_head_size:
        # Rotary positions turn pairs of columns, one from each half.
        sizes["half the size of a head"] = family.size_of_head(stack_config) // 2
    for name, size in sizes.items():
        if size is not None and size % reduction:
            divisors = [number for number in range(2, size + 1) if all(not (s or 0) % number for s in sizes.values())]
            raise ValueError(
                f"reduction={reduction} does not divide {name}, {size}, of {type(block).__name__}; "
                f"use one of 1, {', '.join(map(str, divisors))}"
            )
    changed: dict[str, Any] = {name: None if size is None else size // reduction for name, size in widths.items()}
    if family.attention_dropout is not None:
        changed[family.attention_dropout] = config.attention_dropout
    parameters = inspect.signature(type(block)).parameters
    settings: dict[str, Any] = {"layer_idx": index, "has_relative_attention_bias": first}
    return type(block)(
        NarrowedConfig(stack_config, changed),
        **{name: value for name, value in settings.items() if name in parameters},
    )
