"""A model of transformers with a ladder beside its frozen backbone."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.families import FAMILIES, BlockFamily, Stack, find_stacks
from nlpkit.ladder_side_tuning.side_network import Climb, Landing, Rung, TapsGathered, build_side_network
from nlpkit.ladder_side_tuning.tap_cache import TapCache

#: The taps of a batch: for each stack, by its name, states of shape ``(batch, length, width)`` by layer.
Taps = Mapping[str, Mapping[int, Tensor]]


class LadderModel(nn.Module):
    """What a model gains by a ladder; `get_ladder_model` makes one, with the model's own class as the other parent.

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
        raise RuntimeError(f"{type(self).__name__} did not run its blocks on these inputs")

    def tapped_layers(self) -> dict[str, list[int]]:
        """The layers with a side block, by the name of their stack."""
        return {stack.name: [rung.index for rung in self._rungs(stack) if rung.side] for stack in self.stacks}

    def use_tap_cache(self, cache: TapCache | None) -> None:
        """Read taps from a cache instead of running the backbone, wherever a batch is in it.

        In training a batch that is not in the cache is an error; in evaluation the backbone runs for it.

        Args:
            cache: made by `nlpkit.ladder_side_tuning.tap_cache.cache_taps`; ``None`` runs the backbone again.

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
def ladder_class(model_class: type[PreTrainedModel]) -> type[Any]:
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


def get_ladder_model(
    model: PreTrainedModel,
    config: LadderConfig,
    *,
    batches: Iterable[Mapping[str, Any]] | None = None,
    families: Sequence[BlockFamily] = FAMILIES,
) -> Any:
    """Freeze a model and put a trainable ladder beside it.

    Source: Sung, Cho and Bansal 2022, "LST: Ladder Side-Tuning for Parameter and Memory Efficient Transfer Learning".

    Args:
        model: any model of transformers, or made of one, whose blocks are of a known family. Its parameters are frozen
            in place; otherwise it stays as it is and can be used further, also beside other ladders.
        config: how to make the ladder.
        batches: inputs of the model, for ``init="fisher"`` (with labels) and ``init="distill"``.
        families: kinds of block; add your own to support others.

    Returns:
        A model of the same class, with the same heads, inputs and outputs, which shares the given model's parameters
        in memory, but for the head (or ``config.modules_to_save``), of which it has a trainable copy.

    Raises:
        TypeError: not a ``PreTrainedModel``, or a ladder already.
        ValueError: unknown blocks, or the configuration does not fit them, or ``batches`` are missing.

    Note:
        No activation of the backbone is kept for the backward pass but the tapped states themselves.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> model = BertForSequenceClassification(BertConfig(
        ...     vocab_size=9, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64))
        >>> ladder = get_ladder_model(model, LadderConfig(reduction=8, layers=2))
        >>> ladder(input_ids=torch.tensor([[1, 2, 3]])).logits.shape
        torch.Size([1, 2])
        >>> ladder.tapped_layers()
        {'bert.encoder': [1, 3]}
    """
    from nlpkit.ladder_side_tuning.initialisation import initialise

    ladder = build_ladder(model, config, families)
    initialise(ladder, model, batches)
    return ladder


def build_ladder(model: PreTrainedModel, config: LadderConfig, families: Sequence[BlockFamily] = FAMILIES) -> Any:
    """`get_ladder_model` without the initialisation: the side network has PyTorch's default weights.

    Args:
        model: as there.
        config: as there.
        families: as there.

    Returns:
        The ladder, in the model's mode.
    """
    if isinstance(model, LadderModel):
        raise TypeError("the model has a ladder already; several ladders are built on the plain model, one by one")
    if not isinstance(model, PreTrainedModel):
        raise TypeError(f"a ladder is built beside a transformers PreTrainedModel, not a {type(model).__name__}")
    stacks = find_stacks(model, families)
    saved = head_modules(model) if config.modules_to_save is None else list(config.modules_to_save)
    _check_names(model, saved)
    ladder = _copy_but_share_weights(model, saved)
    ladder.requires_grad_(False)
    ladder.__class__ = ladder_class(type(model))
    ladder.ladder_config, ladder.stacks, ladder.saved_modules = config, stacks, saved
    for stack in stacks:
        taps_only = stack.role == "encoder" and len(stacks) > 1
        build_side_network(ladder, stack, config, taps_only)
    for name, module in ladder.ladder_modules().items():
        module.requires_grad_(True)
        if name not in saved:
            # In fp32 also beside a backbone in half precision, whose steps would be too coarse for training.
            module.to(device=model.device, dtype=torch.promote_types(model.dtype, torch.float32))
    ladder.train(model.training)
    # The Trainer, which loads its checkpoints itself, then knows that the backbone's weights are not missing.
    ladder._keys_to_ignore_on_save = sorted(ladder.state_dict().keys() - ladder.ladder_state_dict().keys())
    return ladder


def head_modules(model: PreTrainedModel) -> list[str]:
    """What a ladder trains beside itself by default: a head that is not pretrained, and the pooler under it.

    Args:
        model: any model.

    Returns:
        Names of modules; empty for bare encoders, which have no head, and for language-model heads.

    Example:
        >>> from transformers import BertConfig, BertForTokenClassification
        >>> head_modules(BertForTokenClassification(BertConfig(
        ...     vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)))
        ['classifier']
    """
    base = model.base_model
    if base is model or model.get_output_embeddings() is not None:
        return []
    head = [name for name, child in model.named_children() if child is not base and list(child.parameters())]
    pooler = [
        f"{model.base_model_prefix}.{name}"
        for name, child in base.named_children()
        if name == "pooler" and list(child.parameters())
    ]
    return pooler + head


def answer_together(ladders: Mapping[str, Any], **batch: Any) -> dict[str, Any]:
    """Let several ladders on one backbone answer a batch, running the backbone once.

    Args:
        ladders: made from the same model, by name.
        **batch: inputs that all of them take.

    Returns:
        The output of each.

    Raises:
        ValueError: none are given, or they stand beside different backbones.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> model = BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        ...                              intermediate_size=8))
        >>> ladders = {str(r): get_ladder_model(model, LadderConfig(reduction=r)) for r in (2, 4)}
        >>> sorted(answer_together(ladders, input_ids=torch.tensor([[1, 2]])))
        ['2', '4']
    """
    if not ladders:
        raise ValueError("give at least one ladder")
    first_name, first = next(iter(ladders.items()))
    for name, ladder in ladders.items():
        if _memory_of_blocks(ladder) != _memory_of_blocks(first):
            raise ValueError(f"ladders {first_name!r} and {name!r} do not share a backbone; build both on one model")
    wanted = {
        stack.name: set(chain.from_iterable(ladder.tapped_layers()[stack.name] for ladder in ladders.values()))
        for stack in first.stacks
    }
    taps = first.tap(layers=wanted, **batch)
    return {name: ladder(**batch, taps=taps) for name, ladder in ladders.items()}


def _memory_of_blocks(ladder: Any) -> list[int]:
    return [p.data_ptr() for stack in ladder.stacks for rung in stack.blocks(ladder) for p in rung.block.parameters()]


def _copy_but_share_weights(model: PreTrainedModel, copied: Iterable[str]) -> Any:
    """A deep copy of the modules around the same tensors, but for those of the named modules, which are copied too."""
    own = {id(tensor) for name in copied for tensor in model.get_submodule(name).state_dict(keep_vars=True).values()}
    shared = chain(model.parameters(), model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in shared if id(tensor) not in own})


def _check_names(model: nn.Module, names: Iterable[str]) -> None:
    known = dict(model.named_modules())
    for name in names:
        if name not in known:
            top = ", ".join(child for child, _ in model.named_children())
            raise ValueError(f"modules_to_save names {name!r}; {type(model).__name__} has {top}, and parts of these")


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


def _unpickle(model_class: type[PreTrainedModel]) -> Any:
    found = ladder_class(model_class)
    return found.__new__(found)
