"""Joining a model with a ladder: a class made of both, and an object that shares the model's weights."""

from __future__ import annotations

import copy
import functools
import inspect
import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn
from transformers import PreTrainedModel

from nlpkit.ladder_side_tuning.blocks.block_family import BlockFamily
from nlpkit.ladder_side_tuning.blocks.dense_weights import is_quantised, make_dense
from nlpkit.ladder_side_tuning.blocks.families import FAMILIES
from nlpkit.ladder_side_tuning.blocks.stacks import Stack, find_stacks
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.ladder import Ladder, Taps, setting
from nlpkit.ladder_side_tuning.reading import (
    Reading,
    frozen_blocks,
    modules_above,
    read_until,
    saved_weights,
    two_tokens,
)
from nlpkit.ladder_side_tuning.side.merging import count_lower
from nlpkit.ladder_side_tuning.side.side_network import build_side_network
from nlpkit.modes import evaluating
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
        ValueError: unknown blocks, or the configuration does not fit them, or weights on the meta device.
    """
    _refuse_weights_of_the_first_process()
    if isinstance(model, Ladder):
        raise TypeError("the model has a ladder already; several ladders are built on the plain model, one by one")
    if not isinstance(model, PreTrainedModel):
        raise TypeError(
            f"a ladder is built beside a transformers PreTrainedModel, not a {type(model).__name__}"
            + _way_inside(model)
        )
    without_values = next((name for name, parameter in model.named_parameters() if parameter.is_meta), None)
    if without_values is not None:
        raise ValueError(
            f"{without_values} of the {type(model).__name__} is on the meta device and has no values; load the "
            "model's weights onto a device first, all of them: none may be kept on disk by device_map"
        )
    stacks = find_stacks(model, families)
    trained = _trained_modules(model, stacks, config)
    if config.whole_from is not None:
        stacks = stacks[:1]
    copied = _copy_but_share_weights(model, trained)
    bases: tuple[Any, Any] = (kind, type(model))
    copied.__class__ = ladder_class(*bases)
    ladder = cast("L", copied)
    ladder.ladder_config, ladder.stacks, ladder.saved_modules = config, stacks, trained
    ladder.all_tied_weights_keys = ladder.get_expanded_tied_weights_keys(all_submodels=True)
    for stack in stacks:
        taps_only = stack.role == "encoder" and len(stacks) > 1
        build_side_network(ladder, stack, config, taps_only)
    with setting(ladder.climbs(), "wanted", {stack.name: frozenset() for stack in stacks}):
        ladder.reading = read_until(ladder, frozen_blocks(ladder, stacks, config.whole_from), leaves=False)
    _refuse_untold_arguments(ladder)
    # Only once everything fits: this freezes the given model.
    for parameter in ladder.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(False)
    ladder.train(model.training)
    for name, module in ladder.ladder_modules().items():
        module.requires_grad_(True)
        if name not in trained:
            # In fp32 also beside a backbone in half precision, whose steps would be too coarse for training.
            module.to(device=model.device, dtype=torch.promote_types(model.dtype, torch.float32))
    # The Trainer, which loads its checkpoints itself, then knows that the backbone's weights are not missing.
    saved = {".".join(filter(None, place)) for place in saved_weights(ladder)}
    ladder._keys_to_ignore_on_save = saved - set(ladder.ladder_state_dict())
    return ladder


def _way_inside(wrapper: object) -> str:
    """How to get at the model in what stands around it."""
    if hasattr(wrapper, "merge_and_unload"):
        return "; give model.merge_and_unload(), which has the adapters in its weights"
    inside = next((name for name in ("_orig_mod", "module") if hasattr(wrapper, name)), None)
    return f"; give the model inside, model.{inside}" if inside else ""


def _refuse_untold_arguments(ladder: Ladder) -> None:
    """Run the side network, where its family was found by the parts of a block and may not know what blocks are given.

    Raises:
        ValueError: side blocks do not take what the backbone's blocks get, or return something else.
    """
    blocks = [ladder.rungs(stack)[0].block for stack in ladder.stacks]
    unknown = [b for b, stack in zip(blocks, ladder.stacks, strict=True) if not stack.family.holds(b)]
    if not unknown:
        return
    try:
        with evaluating(ladder), torch.no_grad():
            ladder.base_model.forward(**two_tokens(ladder))
    except (RuntimeError, ValueError, TypeError) as error:
        kind = type(unknown[0]).__name__
        raise ValueError(
            f"{type(ladder).__name__} is made of {kind}, whose matrices are of a known kind and whose arguments or "
            f"outputs are not: a narrow one does not run ({error}). Describe it in a "
            "nlpkit.ladder_side_tuning.BlockFamily (by_head_size, by_heads, by_width, carried) and pass "
            "families=(*FAMILIES, yours), or train its upper layers by tune_from, which needs no narrow blocks"
        ) from error


def _trained_modules(model: PreTrainedModel, stacks: Sequence[Stack], config: LadderConfig) -> list[str]:
    """Names of the modules of the model that are trained beside the side network.

    Raises:
        ValueError: the user names one that is not there, or that gradients do not reach.
    """
    named = None if config.modules_to_save is None else list(config.modules_to_save)
    _check_names(model, named or [])
    if config.whole_from is not None:
        lower = count_lower(config.whole_from, len(stacks[0].blocks(model)))
        reading = read_until(model, frozen_blocks(model, stacks[:1], lower))
        above = modules_above(model, reading)
        extra = [name for name in named or [] if not f"{name}.".startswith(tuple(f"{part}." for part in above))]
        _refuse_unreached(model, extra, reading, [])
        return above + extra
    if not named:
        return head_modules(model) if named is None else []
    _refuse_unreached(model, named, read_until(model, frozen_blocks(model, stacks)), stacks)
    return named


def _refuse_unreached(model: PreTrainedModel, names: Iterable[str], reading: Reading, stacks: Sequence[Stack]) -> None:
    embeddings = model.get_input_embeddings()
    for name in names:
        # What only shares a weight with the embeddings, such as a head, is trained as a copy of its own.
        holds_embeddings = any(part is embeddings for part in model.get_submodule(name).modules())
        if holds_embeddings or reading.ran(name) or any(_overlap(name, stack.name) for stack in stacks):
            behind = ", ".join(head_modules(model)) or "a head"
            raise ValueError(
                f"modules_to_save names {name!r}, which {type(model).__name__} runs before or in its frozen blocks; "
                "beside a ladder no gradients come there, so it would be saved and never trained. Name modules behind "
                f"the blocks, such as {behind}; train new embeddings with the whole model or LoRA"
            )


def _overlap(one: str, other: str) -> bool:
    """Whether one module lies inside the other, or is it."""
    return not other or f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


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


def _copy_but_share_weights(model: PreTrainedModel, trained: Iterable[str]) -> PreTrainedModel:
    """A deep copy of the modules around the same tensors; the named modules get ordinary tensors of their own."""
    shared: list[Any] = [*model.parameters(), *model.buffers()]
    for module in filter(is_quantised, model.modules()):
        package = type(module).__module__.partition(".")[0]
        shared += [value for value in vars(module).values() if type(value).__module__.startswith(f"{package}.")]
    copied = copy.deepcopy(model, {id(value): value for value in shared})
    own: dict[Tensor, Any] = {}  # holds what is copied, so that nothing new gets its identity
    for name in trained:
        module = make_dense(copied.get_submodule(name), torch.float32)
        parent, _, attribute = name.rpartition(".")
        setattr(copied.get_submodule(parent), attribute, module)
        for part in module.modules():
            for key, parameter in part._parameters.items():
                if parameter is not None:
                    part._parameters[key] = own.setdefault(parameter, nn.Parameter(parameter.detach().clone()))
            for key, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[key] = own.setdefault(buffer, buffer.clone())
    return copied


def _check_names(model: PreTrainedModel, names: Iterable[str]) -> None:
    known = dict(model.named_modules())
    for name in names:
        if name not in known:
            top = ", ".join(child for child, _ in model.named_children())
            raise ValueError(f"modules_to_save names {name!r}; {type(model).__name__} has {top}, and parts of these")


def _refuse_weights_of_the_first_process() -> None:
    """FSDP may leave the loading to the first process; the others would cut a ladder out of nothing."""
    asked = (os.environ.get(name, "").lower() for name in ("ACCELERATE_USE_FSDP", "FSDP_CPU_RAM_EFFICIENT_LOADING"))
    if all(value == "true" for value in asked) and distributed.is_available() and distributed.is_initialized():
        raise ValueError(
            "a ladder is cut out of its backbone's weights, which only the first process loads here: give accelerate "
            "launch --fsdp_cpu_ram_efficient_loading false"
        )
