"""The side network: narrow blocks beside the frozen ones, stepping as the backbone runs.

A ``Rung`` takes the place of each block in its list, so the backbone's own code makes embeddings, masks, positions and
caches as before and knows nothing of the ladder. A ``Landing``, called by a forward hook of the module that runs the
blocks, puts the side network's result where the head expects the backbone's last states.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from nlpkit.ladder_side_tuning.blocks.stacks import Stack
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.side.climb import Climbs, TapsGathered
from nlpkit.ladder_side_tuning.side.merging import choose_layers, count_lower
from nlpkit.ladder_side_tuning.side.narrow_blocks import build_narrow_block
from nlpkit.ladder_side_tuning.side.rungs import Rung, SideBlock


class Landing(nn.Module):
    """The end of a side network: norm, dropout, and the projection up to where the head reads.

    In an encoder-decoder model the encoder's states go to the decoder in one tensor, the backbone's and the side
    network's side by side, so that generation repeats and reorders them together; the decoder's rungs separate them.
    """

    def __init__(self, norm: nn.Module, up: nn.Linear | None, dropout: float, climbs: Climbs) -> None:
        super().__init__()
        self.norm = norm
        self.dropout = nn.Dropout(dropout)
        self.up = up
        self.climbs = climbs

    def forward(self, last: Tensor) -> Tensor:
        """Turn the side state into what follows the stack.

        Args:
            last: the backbone's last states, shape ``(batch, length, backbone's width)``.

        Returns:
            The projected side state, of the same shape; or, without a projection, the backbone's and the side states,
            shape ``(batch, length, backbone's width + width)``.

        Raises:
            TapsGathered: the taps were all that was asked for.
        """
        climb = self.climbs.current
        if climb.wanted is not None:
            if self.up is not None:
                raise TapsGathered
            return last
        climb.last = last.detach() if climb.keeps_last else None
        state = self.dropout(self.norm(climb.finish()))  # (batch, length, width)
        return torch.cat([last.detach(), state], dim=-1) if self.up is None else self.up(state).to(last.dtype)


def replace_last_states(stack: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    """Forward hook of the module that runs the blocks: replace the last hidden states by the ``Landing``'s.

    Args:
        stack: has the landing as ``side``.
        args: unused.
        output: what the stack returned, a ``ModelOutput`` or a tuple with the last states first.

    Returns:
        The same, with the last states replaced.
    """
    landing: Any = stack.side
    if isinstance(output, tuple):
        return landing(output[0]), *output[1:]
    output.last_hidden_state = landing(output.last_hidden_state)
    if getattr(output, "hidden_states", None):  # some models read the last of these instead
        output.hidden_states = (*output.hidden_states[:-1], output.last_hidden_state)
    return output


def build_side_network(model: PreTrainedModel, stack: Stack, config: LadderConfig, taps_only: bool) -> None:
    """Replace the blocks of a stack by rungs and add a landing at its end; the side network has fresh weights.

    With ``config.whole_from`` only the blocks below that layer become rungs, and the last of them has the landing.

    Args:
        model: changed in place.
        stack: one of the model's stacks.
        config: of the ladder.
        taps_only: whether the result goes to a side decoder, not to a head.

    Raises:
        ValueError: the reduction or the layers do not fit the backbone.
    """
    family = stack.family
    stack_module, blocks, settings = stack.module(model), stack.blocks(model), stack.config(model)
    depth, lower = len(blocks), count_lower(config.whole_from, len(blocks))
    kept = choose_layers(config.layers_of(stack.role), lower) if config.has_side_network else []
    tapped_width: int = getattr(settings, family.width)
    width = tapped_width // config.reduction
    climbs = Climbs()
    rungs: list[nn.Module] = []
    for index, block in enumerate(blocks[:lower]):
        rung = Rung(block, index, climbs, family, family.split(settings, config.reduction), depth, kept)
        rung.whole_from = config.whole_from
        if index == 0 and kept:
            rung.enter = nn.Linear(tapped_width, width)
        if index in kept:
            narrow = build_narrow_block(block, settings, family, config, index, index == kept[0])
            module: Any
            for module in narrow.modules():
                if hasattr(module, "layer_idx"):
                    # After construction: some blocks derive scales or kinds of attention from their place.
                    module.layer_idx = depth + kept.index(index)
            rung.side = SideBlock(narrow, tapped_width, width, config)
        rungs.append(rung)
    setattr(stack_module, stack.blocks_name, nn.ModuleList([*rungs, *list(blocks)[lower:]]))
    if config.whole_from is None:
        projection: Any = family.projection_of(stack_module)
        out_width = tapped_width if projection is None else projection.out_features
        up = None if taps_only else nn.Linear(width, out_width)
        stack_module.side = Landing(_narrow_norm(family.norm_of(stack_module), width), up, config.dropout, climbs)
        stack_module.register_forward_hook(replace_last_states)
    elif kept:
        # No norm: what is added to the states in the middle of a stack has their scale.
        top: Any = rungs[-1]
        top.landing = Landing(nn.Identity(), nn.Linear(width, tapped_width), config.dropout, climbs)


def _narrow_norm(norm: nn.Module | None, width: int) -> nn.Module:
    """A norm of the same kind as the stack's last one."""
    if norm is None:
        return nn.Identity()
    # OLMo's norm has a fixed one.
    eps = [value for name, value in vars(norm).items() if name in ("eps", "variance_epsilon")]
    if isinstance(norm, nn.LayerNorm):
        return nn.LayerNorm(width, norm.eps, elementwise_affine=norm.elementwise_affine, bias=norm.bias is not None)
    return type(norm)(width, eps=eps[0]) if eps else type(norm)(width)
