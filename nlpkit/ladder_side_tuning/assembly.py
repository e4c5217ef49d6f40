"""Joining a model with a ladder: a class made of both, and an object that shares the model's weights."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, TypeVar, cast

import torch
from transformers import PreTrainedModel

from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.families import FAMILIES, BlockFamily
from nlpkit.ladder_side_tuning.ladder import Ladder, Taps, setting
from nlpkit.ladder_side_tuning.side_network import build_side_network
from nlpkit.ladder_side_tuning.stacks import find_stacks
from nlpkit.training.heads import head_modules

L = TypeVar("L", bound=Ladder)


def build_ladder(
    kind: type[L], model: PreTrainedModel, config: LadderConfig, families: Sequence[BlockFamily] = FAMILIES
) -> L:
    """``get_ladder_model`` without the initialisation: the side network has PyTorch's default weights.

    Args:
        kind: class of ladder to make.
        model: as there.
        config: as there.
        families: as there.

    Returns:
        The ladder, in the model's mode.

    Raises:
        TypeError: not a ``PreTrainedModel``, or a ladder already.
        ValueError: unknown blocks, or the configuration does not fit them.
    """
    if isinstance(model, Ladder):
        raise TypeError("the model has a ladder already; several ladders are built on the plain model, one by one")
    if not isinstance(model, PreTrainedModel):
        raise TypeError(f"a ladder is built beside a transformers PreTrainedModel, not a {type(model).__name__}")
    stacks = find_stacks(model, families)
    saved = head_modules(model) if config.modules_to_save is None else list(config.modules_to_save)
    _check_names(model, saved)
    copied = _copy_but_share_weights(model, saved)
    bases: tuple[Any, Any] = (kind, type(model))
    copied.__class__ = ladder_class(*bases)
    ladder = cast("L", copied)
    ladder.ladder_config, ladder.stacks, ladder.saved_modules = config, stacks, saved
    for stack in stacks:
        taps_only = stack.role == "encoder" and len(stacks) > 1
        build_side_network(ladder, stack, config, taps_only)
    # Only once everything fits: this freezes the given model.
    ladder.requires_grad_(False)
    ladder.train(model.training)
    for name, module in ladder.ladder_modules().items():
        module.requires_grad_(True)
        if name not in saved:
            # In fp32 also beside a backbone in half precision, whose steps would be too coarse for training.
            module.to(device=model.device, dtype=torch.promote_types(model.dtype, torch.float32))
    # The Trainer, which loads its checkpoints itself, then knows that the backbone's weights are not missing.
    ladder._keys_to_ignore_on_save = set(ladder.state_dict()) - set(ladder.ladder_state_dict())
    return ladder


@functools.cache
def ladder_class(kind: Any, model_class: Any) -> Any:
    """The class of a model with a ladder: a subclass of the model's own, so that all that takes the one takes it.

    It keeps the name, by which the Trainer and pipelines know what a model is for, and the signature of ``forward``,
    by which the Trainer knows its inputs and labels.

    Args:
        kind: class of ladder, the first base.
        model_class: any class of model, the second base.

    Returns:
        The subclass.
    """
    signature = inspect.signature(model_class.forward)
    names = list(signature.parameters)[1:]

    @functools.wraps(model_class.forward)
    def forward(self: Ladder, *args: Any, taps: Taps | None = None, **kwargs: Any) -> Any:
        found = self.find_taps(dict(zip(names, args, strict=False)) | kwargs) if taps is None else taps
        if found is None:
            return model_class.forward(self, *args, **kwargs)
        with setting(self.climbs(), "given", found):
            return model_class.forward(self, *args, **kwargs)

    given = inspect.Parameter("taps", inspect.Parameter.KEYWORD_ONLY, default=None)
    parameters = list(signature.parameters.values())
    has_kwargs = parameters[-1].kind is inspect.Parameter.VAR_KEYWORD
    parameters.insert(len(parameters) - has_kwargs, given)
    forward.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    body = {
        "__module__": model_class.__module__,
        "__qualname__": model_class.__qualname__,
        "config_class": model_class.config_class,
        "forward": forward,
    }
    return type(model_class.__name__, (kind, model_class), body)


def unpickle_ladder(kind: Any, model_class: Any) -> Any:
    """An empty object of a ladder's class, which pickle and ``copy.deepcopy`` fill.

    Args:
        kind: as for ``ladder_class``.
        model_class: as there.

    Returns:
        The object.
    """
    return object.__new__(ladder_class(kind, model_class))


def _copy_but_share_weights(model: PreTrainedModel, copied: Iterable[str]) -> PreTrainedModel:
    """A deep copy of the modules around the same tensors; only those of the named modules are copied, too."""
    own = {id(tensor) for name in copied for tensor in model.get_submodule(name).state_dict(keep_vars=True).values()}
    shared = chain(model.parameters(), model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in shared if id(tensor) not in own})


def _check_names(model: PreTrainedModel, names: Iterable[str]) -> None:
    known = dict(model.named_modules())
    for name in names:
        if name not in known:
            top = ", ".join(child for child, _ in model.named_children())
            raise ValueError(f"modules_to_save names {name!r}; {type(model).__name__} has {top}, and parts of these")
