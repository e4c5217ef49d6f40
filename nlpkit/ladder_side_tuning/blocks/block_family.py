"""What a ladder must know of a kind of block: which settings are its widths, and which of its weights belong together.

The side network is built from the backbone's own block class with narrower widths, so no model's code is written a
second time. A new kind of block is one more ``BlockFamily``, given to ``get_ladder_model``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import gcd
from typing import Literal

from torch import Tensor, nn
from transformers import PreTrainedConfig


@dataclass(frozen=True)
class BlockFamily:
    """One kind of transformer block.

    Args:
        blocks: names of block classes that are of this kind; subclasses are found too. Blocks of other names are of it
            where they are made of the same parts (``fits``). A block is built as ``Block(config)``, with ``layer_idx``
            and ``has_relative_attention_bias`` where its constructor has them.
        width: setting that holds the size of the residual stream.
        narrowed: all settings that are divided by the reduction; those that are ``None`` stay so.
        heads: setting that holds the number of attention heads.
        key_value_heads: setting that holds the number of heads of keys and values, if it is a different one.
        head_size: setting that holds the size of a head; ``None``: the width divided by the heads.
        attention_dropout: setting that holds the dropout of attention maps, if there is one for them alone.
        final_norm: the stack's attributes that may hold a norm after the last block.
        final_projection: the stack's attribute that may hold a projection behind that norm.
        carried: arguments that a block returns for the next one, in the order of its outputs after the first.
        by_head_size: arguments whose last axis is the size of a head; side blocks get as many columns, evenly spread,
            as their heads have.
        by_heads: arguments whose second axis is the heads; side blocks get evenly spread ones.
        by_width: arguments whose last axis is the width; side blocks get them projected down, as the embeddings are.
        pairs: which columns of a head rotary positions turn together: ``"halves"``, one of each half, or
            ``"neighbours"``.
        spaces: how the rows and columns of the block's matrices are tied together for structured pruning: a pattern
            of a module's name to the names of its output and input space. ``hidden`` is one for the whole stack,
            ``source`` is the ``hidden`` of the encoder, ``heads`` is one per attention, ``inner`` one per block,
            ``head`` the columns of each head. One that ends in ``*3`` is three such spaces in a row. ``numbers`` are
            those of the heads, where all attentions of a stack must keep the same ones. A module that no pattern
            matches belongs to ``hidden``.
    """

    blocks: tuple[str, ...]
    width: str
    narrowed: tuple[str, ...]
    heads: str
    key_value_heads: str | None = None
    head_size: str | None = None
    attention_dropout: str | None = None
    final_norm: tuple[str, ...] = ()
    final_projection: str | None = None
    carried: tuple[str, ...] = ()
    by_head_size: tuple[str, ...] = ()
    by_heads: tuple[str, ...] = ()
    by_width: tuple[str, ...] = ()
    pairs: Literal["halves", "neighbours"] = "halves"
    spaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def holds(self, block: nn.Module) -> bool:
        """Whether a block is of this kind by its name."""
        return any(kind.__name__ in self.blocks for kind in type(block).__mro__)

    def fits(self, block: nn.Module, config: PreTrainedConfig) -> bool:
        """Whether a block is made of the parts of this kind, in the sizes that its settings say.

        Args:
            block: of any class.
            config: that it was built from.
        """
        if not all(hasattr(config, name) for name in (self.width, self.heads, *self.narrowed)):
            return False
        found: set[str] = set()
        for module_name, module in block.named_modules():
            pattern = self.pattern(module_name)
            for parameter in module.parameters(recurse=False):
                if parameter.dim() > 1 and pattern is None:
                    return False
                if not self._has_sizes(parameter, self.spaces_of(module_name), config):
                    return False
                found |= {pattern} if pattern is not None else set()
        optional = {"source", "numbers", "head"}
        return all(
            pattern in found for pattern, spaces in self.spaces.items() if len(spaces) > 1 and not optional & {*spaces}
        )

    def count_absent(self, block: nn.Module) -> int:
        """How many of the patterns of ``spaces`` no module of a block matches."""
        return len(self.spaces.keys() - {self.pattern(name) for name, _ in block.named_modules()})

    def _has_sizes(self, parameter: Tensor, spaces: tuple[str, ...], config: PreTrainedConfig) -> bool:
        sizes = parameter.shape
        if parameter.dim() > len(spaces):
            return False
        if parameter.dim() == 2 and spaces[0] == "hidden" and sizes[0] != getattr(config, self.width):
            sizes = sizes[::-1]  # a Conv1D
        for size, space in zip(sizes, spaces, strict=False):
            name, _, times = space.partition("*")
            size //= int(times or 1)
            if name == "hidden" and size != getattr(config, self.width):
                return False
            if name == "head" and size != self.size_of_head(config):
                return False
            if name == "heads" and size % self.size_of_head(config):
                return False
        return True

    def pattern(self, module_name: str) -> str | None:
        """The first pattern of ``spaces`` that matches a module's name."""
        return next((pattern for pattern in self.spaces if re.search(pattern, f".{module_name}")), None)

    def spaces_of(self, module_name: str) -> tuple[str, ...]:
        """The spaces of the axes of a module's parameters."""
        pattern = self.pattern(module_name)
        return ("hidden",) if pattern is None else self.spaces[pattern]

    def norm_of(self, stack: nn.Module) -> nn.Module | None:
        """The norm after a stack's last block, if it has one."""
        found = (getattr(stack, name, None) for name in self.final_norm)
        return next((norm for norm in found if norm is not None), None)

    def projection_of(self, stack: nn.Module) -> nn.Module | None:
        """The projection behind that norm, if the stack has one."""
        return None if self.final_projection is None else getattr(stack, self.final_projection, None)

    def size_of_head(self, config: PreTrainedConfig) -> int:
        """The size of an attention head."""
        size = getattr(config, self.head_size, None) if self.head_size is not None else None
        return int(size or getattr(config, self.width) // getattr(config, self.heads))

    def count_heads(self, config: PreTrainedConfig) -> int:
        """How many heads can be left out one by one: those of keys and values, with all queries that read them."""
        found = getattr(config, self.key_value_heads, None) if self.key_value_heads is not None else None
        return int(found or getattr(config, self.heads))

    def every(self, columns: Tensor, smaller: int) -> Tensor:
        """Of the columns of heads, those that stay where rotary positions fix which belong together.

        Args:
            columns: shape ``(..., columns)``, of whole heads.
            smaller: how many times smaller heads become.

        Returns:
            Shape ``(..., columns / smaller)``.

        Example:
            >>> import torch
            >>> from dataclasses import replace
            >>> from nlpkit.ladder_side_tuning.blocks.families import LLAMA
            >>> LLAMA.every(torch.arange(8), 2), replace(LLAMA, pairs="neighbours").every(torch.arange(8), 2)
            (tensor([0, 2, 4, 6]), tensor([0, 1, 4, 5]))
        """
        if self.pairs == "halves":
            return columns[..., ::smaller]
        return columns.unflatten(-1, (-1, 2))[..., ::smaller, :].flatten(-2)

    def split(self, config: PreTrainedConfig, reduction: int) -> tuple[int, int]:
        """Divide the heads' common width: by smaller heads as far as possible, then by fewer.

        Args:
            config: the backbone's.
            reduction: by which all widths are divided.

        Returns:
            How many times fewer heads there are, and how many times smaller each is; their product is the reduction.
        """
        size = self.size_of_head(config)
        # Rotary positions turn pairs of columns.
        smaller = gcd(reduction, size // 2 if self.by_head_size else size)
        return reduction // smaller, smaller

    def divisors(self, config: PreTrainedConfig, reduction: int) -> dict[str, int]:
        """By how much each setting that makes a block narrow is divided."""
        fewer, smaller = self.split(config, reduction)
        found = dict.fromkeys(self.narrowed, reduction) | {self.heads: fewer}
        if self.key_value_heads is not None:
            found[self.key_value_heads] = fewer
        if self.head_size is not None:
            found[self.head_size] = smaller
        return found
