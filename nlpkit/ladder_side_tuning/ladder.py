"""What a ladder is made of: a frozen backbone, the side network beside it, and the taps between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.rungs import Climb, Rung, TapsGathered
from nlpkit.ladder_side_tuning.side_network import Landing
from nlpkit.ladder_side_tuning.stacks import Stack
from nlpkit.training.precision import refuse_fp16_training

#: The taps of a batch: for each stack, by its name, states of shape ``(batch, length, width)`` by layer.
Taps = Mapping[str, Mapping[int, Tensor]]


class Ladder(PreTrainedModel):
    """A model whose blocks have become rungs; ``LadderModel`` adds what users do with it.

    Attributes:
        ladder_config: how the ladder is made.
        stacks: the stacks of the backbone, the encoder first.
        saved_modules: names of the modules that are trained and saved beside the side network.
    """

    ladder_config: LadderConfig
    stacks: list[Stack]
    saved_modules: list[str]

    def rungs(self, stack: Stack) -> list[Rung]:
        """The rungs of a stack, from the first layer to the last."""
        return cast("list[Rung]", list(stack.blocks(self)))

    def landing(self, stack: Stack) -> Landing:
        """The end of a stack's side network."""
        return cast("Landing", stack.module(self).side)

    def tapped_layers(self) -> dict[str, list[int]]:
        """The layers with a side block, by the name of their stack."""
        return {
            stack.name: [rung.index for rung in self.rungs(stack) if rung.side is not None] for stack in self.stacks
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
        prefixes = tuple(f"{name}." for name in self.ladder_modules())
        state = self.state_dict() if state_dict is None else state_dict
        return {name: tensor for name, tensor in state.items() if name.startswith(prefixes)}

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
            ValueError: a trained module, such as the head of a model loaded in fp16, has fp16 parameters.
        """
        trained = list(self.ladder_modules().values())
        if mode and any(p.dtype == torch.float16 for module in trained for p in module.parameters()):
            refuse_fp16_training(self)
        super().train(mode)
        for module in self.base_model.children() if self.base_model is self else [self.base_model]:
            module.eval()
        for module in trained:
            module.train(mode)
        return self

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
                super().forward(*args, **batch)
            except TapsGathered:
                return {name: climb.gathered for name, climb in climbs.items()}
            finally:
                for climb in climbs.values():
                    climb.gathered = {}
        raise RuntimeError(f"{type(self).__name__} did not run its blocks on these inputs")

    def find_taps(self, inputs: Mapping[str, Any]) -> Taps | None:
        """The taps of a batch, where they are known beforehand; ``None`` runs the backbone.

        Args:
            inputs: the model's inputs by name.
        """
        return None

    def climbs(self) -> dict[str, Climb]:
        """Where each stack keeps the state of a pass, by the stack's name."""
        return {stack.name: self.rungs(stack)[0].climb for stack in self.stacks}


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
