"""Where a side network begins: at random, or as a structurally pruned copy of the backbone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from nlpkit.ladder_side_tuning.blocks.dense_weights import dense_parameters
from nlpkit.ladder_side_tuning.initialisation.distillation import distill
from nlpkit.ladder_side_tuning.initialisation.pruning import PrunedStack, magnitude_scores, squared_gradients
from nlpkit.ladder_side_tuning.ladder import Ladder


def initialise(ladder: Ladder, model: PreTrainedModel, batches: Iterable[Mapping[str, Any]] | None) -> None:
    """Set the side network's weights as ``ladder.ladder_config.init`` says; the head is left as it is.

    Args:
        ladder: fresh from ``build_ladder``.
        model: what it was built on.
        batches: for the inits that learn from them.

    Raises:
        ValueError: batches are missing, or given where none are used.
    """
    init = ladder.ladder_config.init
    if not ladder.has_side_network():
        return
    if init in ("fisher", "distill") and batches is None:
        labels = "with labels" if init == "fisher" else "without labels will do"
        raise ValueError(f"init={init!r} learns from batches; give get_ladder_model(..., batches=...), {labels}")
    if init in ("random", "magnitude") and batches is not None:
        raise ValueError(f"init={init!r} uses no batches; leave them out, or choose 'fisher' or 'distill'")
    if init == "random":
        randomise(ladder)
    else:
        learns = init == "fisher" and batches is not None
        scores = squared_gradients(model, batches or ()) if learns else magnitude_scores(model)
        # Distillation finds the scale of the projection up by itself, sooner from the backbone's own.
        copy_pruned(ladder, scores, gain=1 if init == "distill" else ladder.ladder_config.reduction)
    if init == "distill" and batches is not None:
        distill(ladder, batches)
    landing = ladder.landing(ladder.stacks[0])
    if ladder.ladder_config.whole_from is not None and landing is not None and landing.up is not None:
        _set_linear(landing.up, torch.zeros_like(landing.up.weight))  # layers above begin with what they were taught


@torch.no_grad()
def randomise(ladder: Ladder) -> None:
    """Give the side network random weights whose scale fits its widths.

    Matrices are drawn so that variances stay the same forwards and backwards (Glorot and Bengio 2010), biases and
    position biases are 0, norms 1. Queries of blocks that do not scale their scores (T5) are drawn smaller instead.

    Args:
        ladder: its side network is changed in place.
    """
    for module in ladder.side_modules():
        for child in reversed(list(module.modules())):  # the parts of a module before the module
            _randomise(child)


def _randomise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | Conv1D):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            module.bias.zero_()
    elif isinstance(module, nn.Embedding):
        module.weight.zero_()
    unscaled: Any = module
    if getattr(module, "scaling", None) == 1.0 and hasattr(module, "key_value_proj_dim"):
        unscaled.q.weight.div_(math.sqrt(unscaled.key_value_proj_dim))


@torch.no_grad()
def copy_pruned(ladder: Ladder, scores: Mapping[str, Tensor], gain: float = 1.0) -> None:
    """Make the side network a structurally pruned copy of the backbone.

    Of each space of the backbone's matrices (residual stream, heads, inner states of a block) the ``1 / reduction``
    with the highest score is kept, everywhere the same, and the side blocks get those rows and columns. The
    projections down select the kept part of the residual stream, the projection up puts it back. Gates stay where
    they are.

    Source: Sung, Cho and Bansal 2022, section 3.3. They multiply the scores of the matrices of a space; here they are
    added, so that no single matrix decides.

    Args:
        ladder: its side network is changed in place.
        scores: an importance for each weight of the backbone, of the same shape, by its name in the plain model.
        gain: factor of the projection up. The head reads ``1 / reduction`` of its inputs, so with the reduction as
            factor the expectation of its sums, over what is left out, is that of the backbone's, as behind dropout.

    Note:
        With ``reduction=1`` the side network is the backbone.
    """
    pruned: PrunedStack | None = None
    for stack in ladder.stacks:
        pruned = PrunedStack(ladder, stack, scores, source=None if pruned is None else pruned.kept["hidden"])
        landing, rungs = ladder.landing(stack), ladder.rungs(stack)
        enter = rungs[0].enter
        assert enter is not None and landing is not None  # there is a side network
        selection = _selection(pruned.kept["hidden"], pruned.width, enter.weight)  # (narrow width, width)
        _set_linear(enter, selection)
        for rung in rungs:
            if rung.side is not None:
                _set_linear(rung.side.down, selection)
                pruned.copy_block(rung.index, rung.side.block)
        norm = stack.family.norm_of(stack.module(ladder))
        if norm is not None and not isinstance(landing.norm, nn.Identity):
            pruned.copy_norm(norm, landing.norm)
        if landing.up is not None:
            projection = stack.family.projection_of(stack.module(ladder))
            up = gain * selection.T  # (width, narrow width)
            _set_linear(landing.up, up if projection is None else dense_parameters(projection)["weight"].to(up) @ up)


def _selection(kept: Tensor, width: int, like: Tensor) -> Tensor:
    """A matrix that picks some of the columns."""
    return torch.eye(width, device=like.device, dtype=like.dtype)[kept.to(like.device)]


@torch.no_grad()
def _set_linear(linear: nn.Linear, weight: Tensor) -> None:
    linear.weight.copy_(weight)
    if linear.bias is not None:
        linear.bias.zero_()
