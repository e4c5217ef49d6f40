"""The steps of a ladder: a frozen block of the backbone, its tap, and the narrow block beside it."""

from __future__ import annotations

import copy
import inspect
import threading
from collections.abc import Mapping, Sequence
from contextvars import Context
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import Cache, EncoderDecoderCache

from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.families import BlockFamily
from nlpkit.ladder_side_tuning.merging import gated_sum

#: The argument by which every decoder block gets the encoder's states.
FROM_ENCODER = "encoder_hidden_states"


class TapsGathered(Exception):  # noqa: N818 - not an error
    """All taps have been gathered; what follows in the model need not run."""


class Climb(threading.local):
    """The state of one forward pass through a stack; each thread has its own, so that threads may share a model.

    Attributes:
        state: of the side network, shape ``(batch, length, width)``.
        carried: what the last side block returned for the next one.
        source: the encoder's states for the frozen blocks, and for the side blocks.
        given: taps by layer, in place of running the frozen blocks.
        wanted: layers to gather taps of, in place of running the side network.
        gathered: those taps.
        keeps_last: whether to keep the backbone's own last states.
        last: those states, shape ``(batch, length, backbone's width)``.
    """

    state: Tensor
    source: tuple[Tensor, Tensor] | None = None
    given: Mapping[int, Tensor] | None = None
    wanted: frozenset[int] | None = None
    keeps_last: bool = False
    last: Tensor | None = None

    def __init__(self) -> None:
        self.carried: dict[str, Any] = {}
        self.gathered: dict[int, Tensor] = {}

    def finish(self) -> Tensor:
        """Return the last state of the side network, and keep nothing of the pass.

        Returns:
            Shape ``(batch, length, width)``.
        """
        state = self.state
        del self.state
        self.carried, self.source = {}, None
        return state

    def __reduce__(self) -> tuple[type[Climb], tuple[()]]:
        # A copy is between two passes.
        return Climb, ()


class SideBlock(nn.Module):
    """The tap of one layer, its merge, and the narrow block."""

    def __init__(self, block: nn.Module, tapped_width: int, width: int, config: LadderConfig) -> None:
        super().__init__()
        self.down = nn.Linear(tapped_width, width, bias=config.merge == "gate")
        self.block = block
        if config.merge == "gate":
            self.alpha = nn.Parameter(torch.zeros(()))
        self.merge, self.temperature = config.merge, config.temperature

    def forward(self, state: Tensor, tap: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        """Merge a tap into the side state and run the narrow block.

        Args:
            state: shape ``(batch, length, width)``.
            tap: the layer's output in the backbone, shape ``(batch, length, tapped width)``.
            *args: the narrow block's further arguments.
            **kwargs: the same by name.

        Returns:
            The next state, shape ``(batch, length, width)``, and whatever else the block returns.
        """
        if not torch.is_autocast_enabled(tap.device.type):  # which casts by itself, bf16 taps not to fp32 and back
            tap = tap.to(self.down.weight.dtype)
        lowered = self.down(tap)  # (batch, length, width)
        if self.merge == "gate":
            state = gated_sum(state, lowered, self.alpha, self.temperature)
        output = self.block(state, *args, **kwargs)
        state, *rest = output if isinstance(output, tuple) else (output,)
        return state if self.merge == "gate" else state + lowered, *rest


class Rung(nn.Module):
    """A frozen block of the backbone, in its place in the list of blocks, and what stands beside it.

    Args:
        block: the frozen block; it always runs without gradients and in evaluation mode.
        index: its place in the stack.
        climb: shared by the rungs of a stack.
        family: the kind of block.
        head_reduction: the size of the backbone's heads over that of the side network's.
        depth: blocks of the stack.
        kept: indices of the layers with a side block.
    """

    def __init__(
        self,
        block: nn.Module,
        index: int,
        climb: Climb,
        family: BlockFamily,
        head_reduction: int,
        depth: int,
        kept: list[int],
    ) -> None:
        super().__init__()
        self.block = block
        self.side: SideBlock | None = None
        self.enter: nn.Linear | None = None
        self.index, self.climb = index, climb
        self.carried_names, self.by_head_size = family.carried, family.by_head_size
        self.head_reduction, self.depth, self.kept = head_reduction, depth, kept
        # Names of the arguments after the states: stacks pass some of them by position.
        self.argument_names = tuple(inspect.signature(block.forward).parameters)[1:]

    def train(self, mode: bool = True) -> Self:
        """Put the side block into training or evaluation mode; the frozen block stays in evaluation mode."""
        super().train(mode)
        self.block.eval()
        return self

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Run the frozen block, then step the side network.

        Args:
            hidden: the backbone's state, shape ``(batch, length, backbone's width)``.
            *args: the block's further arguments.
            **kwargs: the same by name.

        Returns:
            What the frozen block returns.
        """
        climb = self.climb
        call = dict(zip(self.argument_names, args, strict=False)) | kwargs
        if self.enter is not None:
            self._begin(self.enter, hidden, call)
        if climb.given is not None:
            output = (hidden, *[None] * len(self.carried_names)) if self.carried_names else hidden
        else:
            if climb.source is not None:
                call[FROM_ENCODER] = climb.source[0]
            with torch.no_grad():
                output = self._call(self.block, call, len(args), hidden)
        tap: Any = output[0] if isinstance(output, tuple) else output
        if climb.wanted is not None:
            climb.gathered |= {self.index: tap} if self.index in climb.wanted else {}
        elif self.side is not None:
            tap = tap if climb.given is None else _check_tap(climb.given[self.index], hidden)
            if climb.source is not None:
                call[FROM_ENCODER] = climb.source[1]
            call |= climb.carried
            for name in self.by_head_size:
                call[name] = tuple(part[..., :: self.head_reduction] for part in call[name])
            dtype = self.side.down.weight.dtype
            call = {name: _to_dtype(value, dtype) for name, value in call.items()}
            # In an empty context, because transformers records hidden states and attentions through a context variable
            # (checked on 5.23), and those asked for are the backbone's.
            climb.state, *carried = Context().run(self._call, self.side, call, len(args), climb.state, tap)
            climb.carried = dict(zip(self.carried_names, carried, strict=True))
        return output

    def _begin(self, enter: nn.Linear, hidden: Tensor, call: Mapping[str, Any]) -> None:
        self.climb.gathered = {}
        self.climb.carried = dict.fromkeys(self.carried_names)
        states = call.get(FROM_ENCODER)
        self.climb.source = None if states is None else self._part(states, hidden)
        if self.climb.wanted is None:
            self.climb.state = enter(hidden.detach().to(enter.weight.dtype))  # (batch, length, width)
            cache = call.get("past_key_values")
            if cache is not None:
                add_side_layers(cache, self.depth, self.kept)

    def _part(self, states: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Separate the backbone's states from the side network's; once, so that backward keeps the latter once."""
        own, side = states[..., : hidden.shape[-1]], states[..., hidden.shape[-1] :]
        if self.climb.wanted is None and not side.shape[-1]:
            raise ValueError(
                "the decoder was given the states of an encoder without this ladder; use the ladder's own"
            )
        return own.detach().to(hidden.dtype).contiguous(), side.contiguous()

    def _call(self, module: nn.Module, call: Mapping[str, Any], by_position: int, *states: Tensor) -> Any:
        """Call with as many arguments by position as the stack did, since checkpointing treats the two differently."""
        names = self.argument_names[:by_position]
        rest = {name: value for name, value in call.items() if name not in names}
        return module(*states, *(call[name] for name in names), **rest)


def add_side_layers(cache: Cache, depth: int, kept: Sequence[int]) -> None:
    """Make room for the side blocks in a key-value cache, behind the backbone's layers.

    They are layers of the same cache, so generation reorders and crops them with the others.

    Args:
        cache: one that a model's ``generate`` or ``forward`` has made.
        depth: the backbone's layers.
        kept: of these, the ones with a side block.

    Raises:
        ValueError: the cache holds keys of the backbone alone.
    """
    parts = (
        [cache.self_attention_cache, cache.cross_attention_cache]
        if isinstance(cache, EncoderDecoderCache)
        else [cache]
    )
    for part in parts:
        # A cache that was made without a configuration grows by itself.
        if part.layer_class_to_replicate is None and len(part.layers) == depth:
            first: Any = part.layers[0]
            if first.is_initialized:
                raise ValueError("past_key_values was filled without this ladder; start from an empty cache")
            part.layers += [copy.deepcopy(part.layers[index]) for index in kept]


def _check_tap(tap: Tensor, hidden: Tensor) -> Tensor:
    if tap.shape != hidden.shape:
        raise ValueError(f"taps are {tuple(tap.shape)} where the backbone's states are {tuple(hidden.shape)}")
    return tap.to(hidden.device)


def _to_dtype(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, tuple):
        return tuple(_to_dtype(part, dtype) for part in value)
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
