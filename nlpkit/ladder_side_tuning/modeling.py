"""A model of transformers with a ladder beside its frozen backbone."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.rungs import Climb, Rung, TapsGathered
from nlpkit.ladder_side_tuning.side_network import Landing
from nlpkit.ladder_side_tuning.stacks import Stack
from nlpkit.ladder_side_tuning.taps.cache import TapCache

#: The taps of a batch: for each stack, by its name, states of shape ``(batch, length, width)`` by layer.
Taps = Mapping[str, Mapping[int, Tensor]]


class LadderModel(nn.Module):
    """What a model gains by a ladder; `ladder_class` joins it with the model's own class.

    Attributes:
        ladder_config: how the ladder is made.
        stacks: the stacks of the backbone, the encoder first.
        saved_modules: names of the modules that are trained and saved beside the ladder.
        tap_cache: where ``forward`` finds taps, if anywhere.
    """

    ladder_config: LadderConfig
    stacks: list[Stack]
    saved_modules: list[str]
    tap_cache: TapCache | None = None

    def train(self, mode: bool = True) -> Self:
        """Put the ladder and the head into training or evaluation mode; the backbone stays in the latter."""
        super().train(mode)
        base: Any = self.base_model
        for module in base.children() if base is self else [base]:
            module.eval()
        for module in self.ladder_modules().values():
            module.train(mode)
        return self

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

    def ladder_state_dict(self) -> dict[str, Tensor]:
        """The weights of `ladder_modules`, under the names that they have in ``state_dict``."""
        prefixes = tuple(f"{name}." for name in self.ladder_modules())
        return {name: tensor for name, tensor in self.state_dict().items() if name.startswith(prefixes)}

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
        climbs = self._climbs()
        with torch.no_grad(), _set(climbs, "wanted", {name: frozenset(wanted[name]) for name in climbs}):
            try:
                super().forward(*args, **batch)
            except TapsGathered:
                return {name: climb.gathered for name, climb in climbs.items()}
            finally:
                for climb in climbs.values():
                    climb.gathered = {}
        raise RuntimeError(f"{type(self).__name__} did not run its blocks on these inputs")

    def tapped_layers(self) -> dict[str, list[int]]:
        """The layers with a side block, by the name of their stack."""
        return {stack.name: [rung.index for rung in self._rungs(stack) if rung.side] for stack in self.stacks}

    def use_tap_cache(self, cache: TapCache | None) -> None:
        """Read taps from a cache instead of running the backbone, wherever a batch is in it.

        In training a batch that is not in the cache is an error; in evaluation the backbone runs for it.

        Args:
            cache: made by `nlpkit.ladder_side_tuning.taps.caching.cache_taps`; ``None`` runs the backbone again.

        Raises:
            ValueError: the cache is another backbone's, or lacks layers.
        """
        if cache is not None:
            cache.check(self)
        self.tap_cache = cache

    def _look_up(self, inputs: Mapping[str, Any]) -> Taps | None:
        if self.tap_cache is None:
            return None
        taps = self.tap_cache.look_up(self, inputs)
        if taps is None and self.training:
            raise ValueError(
                f"a batch is not in the tap cache {self.tap_cache.folder}, which holds {len(self.tap_cache)} rows; "
                "cache all training rows with the same collator, which must not mask or shuffle tokens at random"
            )
        return taps

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Write the ladder without the backbone; see `nlpkit.ladder_side_tuning.saving.save_ladder`."""
        from nlpkit.ladder_side_tuning.saving import save_ladder

        if kwargs.get("is_main_process", True):
            save_ladder(self, save_directory)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Refuse: a ladder is loaded beside its backbone."""
        raise TypeError("load a ladder with nlpkit.load_ladder_model(folder, backbone)")

    def num_ladder_parameters(self) -> int:
        """How many parameters are trained."""
        return sum(p.numel() for module in self.ladder_modules().values() for p in module.parameters())

    def _rungs(self, stack: Stack) -> list[Any]:
        return list(stack.blocks(self))

    def _climbs(self) -> dict[str, Climb]:
        return {stack.name: self._rungs(stack)[0].climb for stack in self.stacks}

    def __reduce__(self) -> Any:
        # The class is made at run time, so pickle and deepcopy must make it again.
        return _unpickle, (type(self).__mro__[2],), self.__dict__


@functools.cache
def ladder_class(model_class: Any) -> type[Any]:
    """The class of a model with a ladder: a subclass of the model's own, so that all that takes the one takes it.

    It keeps the name, by which the Trainer and pipelines know what a model is for, and the signature of ``forward``,
    by which the Trainer knows its inputs and labels.

    Args:
        model_class: any class of model.

    Returns:
        The subclass.
    """
    signature = inspect.signature(model_class.forward)

    @functools.wraps(model_class.forward)
    def forward(self: Any, *args: Any, taps: Taps | None = None, **kwargs: Any) -> Any:
        found = self._look_up(dict(zip(names, args, strict=False)) | kwargs) if taps is None else taps
        if found is None:
            return model_class.forward(self, *args, **kwargs)
        with _set(self._climbs(), "given", found):
            return model_class.forward(self, *args, **kwargs)

    names = list(signature.parameters)[1:]
    given = inspect.Parameter("taps", inspect.Parameter.KEYWORD_ONLY, default=None)
    parameters = list(signature.parameters.values())
    has_kwargs = parameters[-1].kind is inspect.Parameter.VAR_KEYWORD
    parameters.insert(len(parameters) - has_kwargs, given)
    forward.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    body = {"__module__": model_class.__module__, "__qualname__": model_class.__qualname__, "forward": forward}
    return type(model_class.__name__, (LadderModel, model_class), body)


@contextmanager
def _set(climbs: Mapping[str, Climb], attribute: str, values: Mapping[str, Any]) -> Iterator[None]:
    """Set an attribute of the climbs for the duration of a pass."""
    for name, climb in climbs.items():
        setattr(climb, attribute, values[name])
    try:
        yield
    finally:
        for climb in climbs.values():
            setattr(climb, attribute, None)


def _unpickle(model_class: Any) -> Any:
    return object.__new__(ladder_class(model_class))
