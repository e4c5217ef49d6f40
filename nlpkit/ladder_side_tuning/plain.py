"""A model that was tuned from a tap, as the plain model that it is."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedModel

from nlpkit.ladder_side_tuning.blocks.dense_weights import is_quantised
from nlpkit.ladder_side_tuning.ladder import Ladder
from nlpkit.ladder_side_tuning.side.rungs import Rung


def plain_model(ladder: Ladder) -> PreTrainedModel:
    """The model without its rungs, around the same tensors.

    Args:
        ladder: without a side network.

    Returns:
        A model of the class that the ladder was built on, in its mode; all its weights can be trained.

    Raises:
        ValueError: there is a side network, a head that was tied to the embeddings was trained apart from them, or
            parameters are sharded.
    """
    if ladder.has_side_network():
        raise ValueError("a side network is no part of the plain model; save the ladder with whole=False")
    if any(is_quantised(module) for module in ladder.modules()):
        raise ValueError("layers that were trained beside quantised ones load with them alone; save with whole=False")
    if isinstance(ladder, FSDPModule):
        raise ValueError(
            "the parameters are sharded by FSDP; save with whole=False, load that in one process, and save it whole"
        )
    tied = PreTrainedModel.get_expanded_tied_weights_keys(ladder, all_submodels=True)
    parted = sorted(tied.keys() - ladder.get_expanded_tied_weights_keys(all_submodels=True).keys())
    if parted:
        raise ValueError(
            f"{parted[0]} was trained apart from the embeddings that a plain model ties it to; save with whole=False"
        )
    shared = {id(tensor): tensor for tensor in (*ladder.parameters(), *ladder.buffers())}
    plain: Any = copy.deepcopy(ladder, shared)
    for stack in ladder.stacks:
        blocks = [block.block if isinstance(block, Rung) else block for block in stack.blocks(plain)]
        setattr(stack.module(plain), stack.blocks_name, nn.ModuleList(blocks))
    for name in ("ladder_config", "stacks", "saved_modules", "reading", "tap_cache", "_keys_to_ignore_on_save"):
        vars(plain).pop(name, None)
    plain.__class__ = type(ladder).__bases__[1]
    plain.all_tied_weights_keys = plain.get_expanded_tied_weights_keys(all_submodels=True)
    model: PreTrainedModel = plain
    return model


def plain_state(ladder: Ladder, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a ladder under the names that they have in the plain model.

    Args:
        ladder: without a side network.
        state: of the whole ladder.
    """
    names: dict[str, str] = {}
    for stack in ladder.stacks:
        for rung in ladder.rungs(stack):
            prefix = f"{stack.name}.{stack.blocks_name}.{rung.index}.".lstrip(".")
            names |= {f"{prefix}block.{name}": prefix + name for name in rung.block.state_dict()}
    return {names.get(name, name): tensor for name, tensor in state.items()}
