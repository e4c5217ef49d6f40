"""The steps of a ladder: a frozen block of the backbone, its tap, and the narrow block beside it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import Cache, EncoderDecoderCache

from nlpkit.compat import uncaptured
from nlpkit.ladder_side_tuning.blocks.block_family import BlockFamily
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.side.climb import Climb, Climbs, TapsGathered
from nlpkit.ladder_side_tuning.side.merging import gated_sum

#: The argument by which every decoder block gets the encoder's states.
FROM_ENCODER = "encoder_hidden_states"


class SideBlock(nn.Module):
    """The tap of one layer, its merge, and the narrow block."""

    def __init__(self, block: nn.Module, tapped_width: int, width: int, config: LadderConfig) -> None:
        super().__init__()
        self.down = nn.Linear(tapped_width, width, bias=config.merge == "gate")
        self.block = block
        if config.merge == "gate":
            self.alpha = nn.Parameter(torch.zeros(1))  # FSDP refuses scalars
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
        climbs: shared by the rungs of a stack.
        family: the kind of block.
        split: how many times fewer heads the side network has, and how many times smaller each is.
        depth: blocks of the stack.
        kept: indices of the layers with a side block.

    Attributes:
        side: the narrow block, where the layer has one.
        enter: projects the embeddings down, at the first rung of a side network.
        landing: ends the side network, at the last rung below layers that are trained whole.
        whole_from: the first of those layers, if there are some.
        outputs: how many the block returns as a tuple, 0 for its states alone; ``None`` until it has run.
    """

    def __init__(
        self,
        block: nn.Module,
        index: int,
        climbs: Climbs,
        family: BlockFamily,
        split: tuple[int, int],
        depth: int,
        kept: list[int],
    ) -> None:
        super().__init__()
        self.block = block
        self.side: SideBlock | None = None
        self.enter: nn.Linear | None = None
        self.landing: nn.Module | None = None
        self.whole_from: int | None = None
        self.outputs: int | None = None
        self.index, self.climbs, self.family = index, climbs, family
        self.fewer_heads, self.smaller_heads = split
        self.depth, self.kept = depth, kept
        # Names of the arguments after the states: stacks pass some of them by position.
        self.argument_names = tuple(inspect.signature(block.forward).parameters)[1:]
        self.register_load_state_dict_pre_hook(_accept_plain_names)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            # Stacks read settings off their blocks, such as the kind of attention.
            return getattr(super().__getattr__("block"), name)

    def train(self, mode: bool = True) -> Self:
        """Put the side block into training or evaluation mode; the frozen block stays in evaluation mode."""
        self.training = mode
        # Each module once: a model is told its mode at every step.
        for child in self.children():
            child.train(mode and child is not self.block)
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
        climb = self.climbs.current
        call = dict(zip(self.argument_names, args, strict=False)) | kwargs
        if self.index == 0:
            self._begin(climb, hidden, call)
        output = self._frozen(climb, hidden, call, len(args))
        tap: Any = output[0] if isinstance(output, tuple) else output
        if climb.wanted is not None:
            climb.gathered |= {self.index: tap} if self.index in climb.wanted else {}
        elif self.side is not None:
            tap = tap if climb.given is None else _check_tap(climb.given[self.index], hidden)
            self._step(self.side, climb, tap, call, len(args))
        return self._leave(climb, output, hidden) if self.index + 1 == self.whole_from else output

    def _frozen(self, climb: Climb, hidden: Tensor, call: dict[str, Any], by_position: int) -> Any:
        """What the frozen block returns; where the taps are given, the states stand for any of the same shape."""
        # What the first block makes for those above it is made also where its states are not needed; and how many
        # outputs a block has is known once it has run.
        for_above = bool(self.family.carried) and self.index == 0 and self.whole_from is not None
        if climb.given is None or for_above or self.outputs is None:
            own = call if climb.source is None else call | {FROM_ENCODER: climb.source[0]}
            with torch.no_grad():
                output = self._call(self.block, own, by_position, hidden)
            self.outputs = len(output) if isinstance(output, tuple) else 0
            return output
        if not self.outputs:
            return hidden
        carried = [call.get(name) for name in self.family.carried]
        return (hidden, *carried, *[None] * (self.outputs - 1 - len(carried)))

    def _step(self, side: SideBlock, climb: Climb, tap: Tensor, call: dict[str, Any], by_position: int) -> None:
        """Run the side block."""
        own = call | climb.carried | climb.lowered
        if climb.source is not None:
            own[FROM_ENCODER] = climb.source[1]
        for name in self.family.by_head_size:
            own[name] = _each_tensor(own[name], lambda part: part[..., :: self.smaller_heads])
        for name in self.family.by_heads:
            own[name] = own[name][:, :: self.fewer_heads]
        dtype = side.down.weight.dtype
        own = {
            name: _each_tensor(value, lambda part: part.to(dtype) if part.is_floating_point() else part)
            for name, value in own.items()
        }
        with uncaptured():  # hidden states and attentions that are asked for are the backbone's
            climb.state, *carried = self._call(side, own, by_position, climb.state, tap)
        names = self.family.carried
        if names and len(carried) != len(names):
            raise ValueError(f"it returns {len(carried)} outputs beside its states, not {' and '.join(names)}")
        if names:
            climb.carried = dict(zip(names, carried, strict=True))

    def _leave(self, climb: Climb, output: Any, hidden: Tensor) -> Any:
        """What the layers above, which are trained whole, read."""
        if climb.wanted is not None:
            raise TapsGathered
        states = output[0] if isinstance(output, tuple) else output
        if climb.given is not None:
            states = _check_tap(climb.given[self.index], hidden).to(hidden.dtype)
        states = states.detach()
        if self.landing is None:
            climb.forget()
        else:
            states = states + self.landing(states)  # (batch, length, backbone's width)
        return (states, *output[1:]) if isinstance(output, tuple) else states

    def _begin(self, climb: Climb, hidden: Tensor, call: Mapping[str, Any]) -> None:
        climb.gathered = {}
        climb.carried = dict.fromkeys(self.family.carried)
        states = call.get(FROM_ENCODER)
        climb.source = None if states is None else self._part(climb, states, hidden)
        if climb.wanted is None and self.enter is not None:
            dtype, enter = self.enter.weight.dtype, self.enter
            climb.state = enter(hidden.detach().to(dtype))  # (batch, length, width)
            given = {name: call.get(name) for name in self.family.by_width}
            climb.lowered = {
                name: enter(value.detach().to(dtype)) for name, value in given.items() if value is not None
            }
            for value in call.values():
                if isinstance(value, Cache):
                    add_side_layers(value, self.depth, self.kept)

    def _part(self, climb: Climb, states: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Separate the backbone's states from the side network's; once, so that backward keeps the latter once."""
        own, side = states[..., : hidden.shape[-1]], states[..., hidden.shape[-1] :]
        if climb.wanted is None and not side.shape[-1]:
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


def _each_tensor(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, tuple | list):
        return tuple(_each_tensor(part, change) for part in value)
    return change(value) if isinstance(value, Tensor) else value


def _accept_plain_names(rung: Rung, state: dict[str, Any], prefix: str, *others: Any) -> None:
    """Before weights are loaded: those of a plain model's block are the frozen block's."""
    own = ("block.", "side.", "enter.", "landing.")
    for name in [name for name in state if name.startswith(prefix)]:
        rest = name.removeprefix(prefix)
        if not rest.startswith(own):
            state[f"{prefix}block.{rest}"] = state.pop(name)
