"""How deep a tensor lies in a model of any architecture."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import torch
from torch import nn

from nlpkit.modes import evaluating
from nlpkit.optimizers.blocks import block_stacks


def depths(model: nn.Module) -> tuple[dict[str, int], int]:
    """The depth of each parameter: 0 at the embeddings, 1 in the lowest block, and so on up to the head.

    Args:
        model: any model of ``nn.ModuleList`` s of blocks, or PEFT's wrapper around one.

    Returns:
        Depths by the name of the parameter, and that of the head, one above the highest block. Embeddings are
        ``nn.Embedding`` s outside the blocks, and what stands beside the input embedding in a module without blocks,
        as BERT's norm does. Whatever else is outside the blocks has the depth of the block that it runs behind: 0
        before the first one, as a projection of embeddings does, and that of the head behind the last one, as a final
        norm or a pooler does. Of two stacks, an encoder and a decoder, each ends right below the head.

    Raises:
        ValueError: the model has no blocks.

    Note:
        What runs behind what is told by a pass over eight tokens, without dropout or gradients. Where a model takes no
        token ids, or they do not suffice, all but the embeddings counts as the head.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> found, head = depths(BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=2,
        ...                                           num_attention_heads=2, intermediate_size=8)))
        >>> [found[name] for name in ("embeddings.LayerNorm.weight", "encoder.layer.1.output.dense.bias",
        ...                           "pooler.dense.weight")]
        [0, 2, 3]
    """
    stacks = block_stacks(model)
    if not stacks:
        raise ValueError(f"{type(model).__name__} has no nn.ModuleList of blocks, by which depths are told")
    height = max(len(blocks) for blocks in stacks.values())
    found = {}
    lowest = _lowest(model, list(stacks))
    below = _blocks_before(model, stacks)
    for name, parameter in model.named_parameters():
        stack = next((stack for stack in stacks if name.startswith(f"{stack}.")), None)
        if stack is not None:
            place = int(name[len(stack) + 1 :].partition(".")[0])
            found[name] = place + 1 + height - len(stacks[stack])
        elif parameter in lowest:
            found[name] = 0
        else:
            owner = name.rpartition(".")[0]
            found[name] = next((below[part] for part in _with_ancestors(owner) if part in below), height + 1)
    return found, height + 1


def _lowest(model: nn.Module, stacks: list[str]) -> set[nn.Parameter]:
    found = set()
    embedding = _input_embedding(model)
    for name, module in model.named_modules():
        beside = not _holds_blocks(name, stacks) and any(child is embedding for child in module.children())
        if isinstance(module, nn.Embedding) or beside:
            found.update(module.parameters())
    return found


def _input_embedding(model: Any) -> Any:
    """What takes a model's input, which need be no table of tokens: an image model's patches, or nothing."""
    with suppress(NotImplementedError, AttributeError):  # characters that are hashed into several
        return model.get_input_embeddings()
    return None


def _holds_blocks(name: str, stacks: list[str]) -> bool:
    return any(f"{stack}.".startswith(f"{name}." if name else "") for stack in stacks)


def _with_ancestors(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _blocks_before(model: nn.Module, stacks: dict[str, list[nn.Module]]) -> dict[str, int]:
    """Depths of the modules outside the blocks that run before the last block of their stack, by their names.

    A module's stacks are those of the smallest module that holds it and blocks.
    """
    height = max(map(len, stacks.values()))
    begun = dict.fromkeys(stacks, 0)  # the depth of the block that has begun last
    found: dict[str, tuple[int, list[str]]] = {}

    def block_begins(stack: str, depth: int, *_: object) -> None:
        begun[stack] = max(begun[stack], depth)

    def other_begins(name: str, near: list[str], *_: object) -> None:
        found.setdefault(name, (max(begun[stack] for stack in near), near))

    with ExitStack() as entered:

        def watch(module: nn.Module, tell: Callable[..., None]) -> None:
            entered.callback(module.register_forward_pre_hook(tell).remove)

        for stack, blocks in stacks.items():
            for depth, block in enumerate(blocks, start=1 + height - len(blocks)):
                for part in block.modules():  # since the block itself may be a list, or called by its forward
                    watch(part, partial(block_begins, stack, depth))
        for name, module in model.named_modules():
            inside = any(f"{name}.".startswith(f"{stack}.") for stack in stacks)
            if not inside and not _holds_blocks(name, list(stacks)):
                watch(module, partial(other_begins, name, _nearest(name, list(stacks))))
        _run_over_a_few_tokens(model)
    ran = {stack for stack, depth in begun.items() if depth > 0}
    return {name: depth for name, (depth, near) in found.items() if depth < height and ran.intersection(near)}


def _nearest(name: str, stacks: list[str]) -> list[str]:
    smallest = next(holder for holder in [*_with_ancestors(name)[1:], ""] if _holds_blocks(holder, stacks))
    return [stack for stack in stacks if _holds_blocks(smallest, [stack])]


def _run_over_a_few_tokens(model: Any) -> None:
    """As far as the model comes: a head that fails has run behind all blocks."""
    with evaluating(model), torch.no_grad(), suppress(Exception):  # whatever it wants beside token ids
        tokens = getattr(_input_embedding(model), "num_embeddings", 99)
        ids = torch.arange(3, 11, device=next(model.parameters()).device)[None] % tokens
        decoder = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
        model(input_ids=ids, **decoder)
