"""What a ladder is made of: a frozen backbone, the side network beside it, and the taps between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from nlpkit.ladder_side_tuning.blocks.stacks import Stack
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.reading import Reading
from nlpkit.ladder_side_tuning.side.climb import Climb, TapsGathered
from nlpkit.ladder_side_tuning.side.rungs import Rung
from nlpkit.ladder_side_tuning.side.side_network import Landing
from nlpkit.training.precision import refuse_fp16_training

#: The taps of a batch: for each stack, by its name, states of shape ``(batch, length, width)`` by layer.
Taps = Mapping[str, Mapping[int, Tensor]]


class Ladder(PreTrainedModel):
    """A model whose blocks have become rungs; ``LadderModel`` adds what users do with it.

    Attributes:
        ladder_config: how the ladder is made.
        stacks: the stacks of the backbone, the encoder first; with layers that are trained whole, the first alone.
        saved_modules: names of the modules that are trained and saved beside the side network.
        reading: the weights that the taps are made of.
    """

    ladder_config: LadderConfig
    stacks: list[Stack]
    saved_modules: list[str]
    reading: Reading

    def rungs(self, stack: Stack) -> list[Rung]:
        """The rungs of a stack, from the first layer to the last; layers that are trained whole are none."""
        return [block for block in stack.blocks(self) if isinstance(block, Rung)]

    def frozen_parameters(self) -> Iterator[nn.Parameter]:
        """Those of the blocks that the side network stands beside."""
        for stack in self.stacks:
            for rung in self.rungs(stack):
                yield from rung.block.parameters()

    def memory_of_blocks(self) -> list[int]:
        """Where the weights of those blocks lie, which ladders beside one backbone share."""
        return [parameter.data_ptr() for parameter in self.frozen_parameters()]

    def landing(self, stack: Stack) -> Landing | None:
        """The end of a stack's side network, if there is one."""
        top = self.rungs(stack)[-1]
        return cast("Landing | None", stack.module(self).side if top.whole_from is None else top.landing)

    def has_side_network(self) -> bool:
        """Whether there is one, and not merely layers that are trained whole."""
        return self.landing(self.stacks[0]) is not None

    def tapped_layers(self) -> dict[str, list[int]]:
        """The layers whose states are read, by the name of their stack."""
        return {
            stack.name: [
                rung.index for rung in self.rungs(stack) if rung.side is not None or rung.index + 1 == rung.whole_from
            ]
            for stack in self.stacks
        }

    def ladder_modules(self) -> dict[str, nn.Module]:
        """The modules that are trained and saved: those of the side network, the head, what else the user chose.

        Returns:
            Modules by name; none lies inside another.
        """
        found: dict[str, nn.Module] = {}
        for name, module in self.named_modules():
            if isinstance(module, Rung):
                beside = {"enter": module.enter, "side": module.side}
                found |= {f"{name}.{part}": child for part, child in beside.items() if child is not None}
            elif isinstance(module, Landing):
                found[name] = module
        return found | {name: self.get_submodule(name) for name in self.saved_modules}

    def side_modules(self) -> list[nn.Module]:
        """The modules of the side network alone."""
        return [module for name, module in self.ladder_modules().items() if name not in self.saved_modules]

    def ladder_state_dict(self, state_dict: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The weights of ``ladder_modules``, under the names that they have in ``state_dict``.

        Args:
            state_dict: of the whole model, where weights are gathered from several processes; by default the model's.

        Returns:
            Tensors by name.
        """
        own = {
            f"{name}.{part}": tensor
            for name, module in self.ladder_modules().items()
            for part, tensor in module.state_dict().items()
        }
        # Of weights that are tied to each other, one; files hold no tensor twice.
        first = {memory_of(tensor): name for name, tensor in reversed(own.items())}
        state = own if state_dict is None else state_dict
        return {name: state[name] for name in own if name in first.values() and name in state}

    def get_expanded_tied_weights_keys(self, all_submodels: bool = False) -> dict[str, str]:
        """Which weights are tied to which; a trained copy is not tied to the frozen weight any more.

        Checked on transformers 5.23.0.
        """
        trained = tuple(f"{name}." for name in self.saved_modules)
        tied = super().get_expanded_tied_weights_keys(all_submodels=all_submodels)
        return {
            target: source
            for target, source in tied.items()
            if not target.startswith(trained) or source.startswith(trained)
        }

    def num_ladder_parameters(self) -> int:
        """How many parameters are trained."""
        return sum(p.numel() for module in self.ladder_modules().values() for p in module.parameters())

    def train(self, mode: bool = True) -> Self:
        """Put the ladder and the head into training or evaluation mode; the backbone stays in the latter.

        Args:
            mode: whether to train.

        Returns:
            The model.

        Raises:
            ValueError: a trained module, such as the head of a model loaded in fp16, has fp16 parameters; or a
                parameter of the frozen backbone wants a gradient, which would never reach it.
        """
        trained = list(self.ladder_modules().values())
        if mode:
            self._refuse_lost_gradients()
        if mode and any(p.dtype == torch.float16 for module in trained for p in module.parameters()):
            refuse_fp16_training(self)
        super().train(mode)
        for module in self.base_model.children() if self.base_model is self else [self.base_model]:
            module.eval()
        for module in trained:
            module.train(mode)
        return self

    def _refuse_lost_gradients(self) -> None:
        """Refuse parameters below the side network that want a gradient: LoRA put there, or weights made trainable."""
        inside = {id(parameter) for parameter in self.frozen_parameters()}
        read = {".".join(filter(None, place)) for place in self.reading.places}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad and (id(parameter) in inside or name in read):
                raise ValueError(
                    f"{name} wants a gradient, but is in a ladder's frozen backbone, which runs without gradients: "
                    "train the ladder alone (parameter.requires_grad_(False)), or merge LoRA into the plain model "
                    "first (merge_and_unload) and build the ladder beside that"
                )

    def tap(self, *args: Any, layers: Mapping[str, Iterable[int]] | None = None, **batch: Any) -> Taps:
        """Run the backbone alone and keep its states at the tapped layers.

        Args:
            *args: the model's inputs.
            layers: which layers of each stack; by default those that the ladder taps.
            **batch: the model's inputs by name. Labels only serve encoder-decoder models, whose decoders read them.

        Returns:
            The taps, to be given to ``forward`` of this ladder or of another one on the same backbone.
        """
        wanted = self.tapped_layers() if layers is None else layers
        climbs = self.climbs()
        with torch.no_grad(), setting(climbs, "wanted", {name: frozenset(wanted[name]) for name in climbs}):
            try:
                # A stack that is the whole model runs to its end, where its landing would be.
                with suppress(TapsGathered):
                    super().forward(*args, **batch)
                found = {name: climb.gathered for name, climb in climbs.items()}
            finally:
                for climb in climbs.values():
                    climb.gathered = {}
        if not all(found.values()):
            raise RuntimeError(f"{type(self).__name__} did not run its blocks on these inputs")
        return found

    def find_taps(self, inputs: Mapping[str, Any]) -> Taps | None:
        """The taps of a batch, where they are known beforehand; ``None`` runs the backbone.

        Args:
            inputs: the model's inputs by name.
        """
        return None

    def climbs(self) -> dict[str, Climb]:
        """Where each stack keeps the state of a pass, by the stack's name."""
        return {stack.name: self.rungs(stack)[0].climbs.current for stack in self.stacks}


def memory_of(tensor: Tensor) -> tuple[int, torch.Size]:
    """What two tensors have in common that are tied: where they lie, and their shape.

    Args:
        tensor: of one that is sharded the part of this process counts, which may be empty and lie nowhere.
    """
    part = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return part.data_ptr() or id(tensor), tensor.shape


@contextmanager
def setting(climbs: Mapping[str, Climb], attribute: str, values: Mapping[str, Any]) -> Iterator[None]:
    """Set an attribute of the climbs for the duration of a pass.

    Args:
        climbs: by the name of their stack.
        attribute: name of the attribute; ``None`` outside of passes.
        values: by the name of the stack.
    """
    for name, climb in climbs.items():
        setattr(climb, attribute, values[name])
    try:
        yield
    finally:
        for climb in climbs.values():
            setattr(climb, attribute, None)
