"""Where a model keeps its blocks."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from nlpkit.ladder_side_tuning.blocks.block_family import BlockFamily
from nlpkit.ladder_side_tuning.blocks.families import FAMILIES


@dataclass(frozen=True)
class Stack:
    """A stack of blocks found in a model.

    Args:
        name: path of the module that runs the blocks, e.g. ``"bert.encoder"``; empty if that is the model itself.
        blocks_name: its attribute that holds them.
        role: ``"encoder"`` or ``"decoder"``; the latter only in encoder-decoder models.
        family: their kind.
    """

    name: str
    blocks_name: str
    role: str
    family: BlockFamily

    def module(self, model: nn.Module) -> nn.Module:
        """The module that runs the blocks."""
        return model.get_submodule(self.name)

    def config(self, model: PreTrainedModel) -> PreTrainedConfig:
        """The configuration that the blocks were built from: the module's own, or else the model's."""
        return getattr(self.module(model), "config", model.config)

    def blocks(self, model: nn.Module) -> nn.ModuleList:
        """The blocks."""
        blocks: nn.ModuleList = getattr(self.module(model), self.blocks_name)
        return blocks


def find_stacks(model: PreTrainedModel, families: Sequence[BlockFamily] = FAMILIES) -> list[Stack]:
    """Find the stacks of blocks in a model, the encoder before the decoder.

    Args:
        model: any model of transformers or made of one.
        families: the kinds of block to look for.

    Returns:
        One stack, or two for an encoder-decoder model.

    Raises:
        ValueError: none is of a known kind, or not all, or there are more than the model's kind explains.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> model = BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        ...                              intermediate_size=8))
        >>> [(stack.name, stack.blocks_name, len(stack.blocks(model))) for stack in find_stacks(model)]
        [('encoder', 'layer', 2)]
    """
    found = list(_known_stacks(model, families))
    expected = 2 if model.config.is_encoder_decoder else 1
    unknown = (
        _likely_block(model) if not found else _block_beside(model, found[0][0]) if len(found) < expected else None
    )
    if unknown is not None:
        supported = ", ".join(name for family in families for name in family.blocks)
        raise ValueError(
            f"{type(model).__name__} is made of {unknown}, which no family describes; a ladder is built "
            f"beside {supported}, and blocks made of the same parts. Describe its widths in a "
            "nlpkit.ladder_side_tuning.BlockFamily and pass families=(*FAMILIES, yours)"
        )
    if len(found) > expected:
        names = [name for name, _, _ in found]
        parts = ", ".join(_models_around_one(model, names))
        raise ValueError(
            f"{type(model).__name__} has {len(found)} stacks of blocks ({', '.join(names)}); expected {expected}. "
            + (f"Build the ladder on one of its parts: {parts}" if parts else "Use a model with a single one")
        )
    # An encoder without its decoder may keep the settings of both.
    roles = ("encoder", "decoder")[: len(found)]
    return [Stack(name, blocks, role, family) for role, (name, blocks, family) in zip(roles, found, strict=True)]


def _known_stacks(model: PreTrainedModel, families: Sequence[BlockFamily]) -> Iterator[tuple[str, str, BlockFamily]]:
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module):
            parent, _, attribute = name.rpartition(".")
            config = getattr(model.get_submodule(parent), "config", model.config)
            family = _family_of(module[0], config, families)
            if family is not None:
                yield parent, attribute, family


def _family_of(block: nn.Module, config: PreTrainedConfig, families: Sequence[BlockFamily]) -> BlockFamily | None:
    by_name = next((family for family in families if family.holds(block)), None)
    fitting = [family for family in families if family.fits(block, config)]
    # An encoder's block is also a decoder's without the parts that read an encoder, and its settings are others.
    return by_name or min(fitting, key=lambda family: family.count_absent(block), default=None)


def _block_beside(model: nn.Module, stack: str) -> str | None:
    """The block of a list outside of a stack, if there is one."""
    inside = f"{stack}." if stack else ""
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) and not f"{name}.".startswith(inside):
            block = module[0]
            if "hidden_states" in inspect.signature(block.forward).parameters:
                return type(block).__name__
    return None


def _models_around_one(model: nn.Module, stacks: Sequence[str]) -> Iterator[str]:
    """The parts of a model that are models themselves, of transformers, and hold a single one of its stacks."""
    for name, module in model.named_modules():
        held = [stack for stack in stacks if f"{stack}.".startswith(f"{name}.")]
        if isinstance(module, PreTrainedModel) and len(held) == 1:
            yield name


def _likely_block(model: nn.Module) -> str:
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module)]
    # A list within a block cannot hold more parameters than the list of blocks.
    largest = max(lists, key=lambda blocks: sum(p.numel() for p in blocks.parameters()), default=None)
    return "no list of blocks" if largest is None else type(largest[0]).__name__
