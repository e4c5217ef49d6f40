"""The private touches of transformers, accelerate and Python's imports, each with the version it was checked on."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _ImportHooks:
    """A meta-path finder that calls back after chosen modules have run, and serves modules that are only aliases."""

    def __init__(self) -> None:
        self.callbacks: dict[str, Callable[[ModuleType], None]] = {}
        self.aliases: dict[str, Callable[[str], Any]] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in self.aliases:
            # Not an importlib.abc.Loader, by which importing nlpkit would take twice as long.
            loader: Any = _AliasLoader(self.aliases[name])
            return ModuleSpec(name, loader, origin="nlpkit")
        if name not in self.callbacks:
            return None
        # Only the finders behind this one: two packages with such hooks would otherwise ask each other forever.
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                _call_after_execution(spec, self.callbacks[name])
                return spec
        return None


class _AliasLoader:
    def __init__(self, attribute: Callable[[str], Any]) -> None:
        self.attribute = attribute

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__getattr__ = self.attribute  # type: ignore[method-assign]


def _call_after_execution(spec: ModuleSpec, callback: Callable[[ModuleType], None]) -> None:
    loader: Any = spec.loader
    execute = loader.exec_module

    def execute_then_call(module: ModuleType) -> None:
        execute(module)
        # A zip importer serves many modules with one loader.
        if module.__name__ == spec.name:
            callback(module)

    loader.exec_module = execute_then_call


_hooks = _ImportHooks()


def after_import(name: str, callback: Callable[[ModuleType], None]) -> None:
    """Call back with a module as soon as it has been loaded: at once if it already is, else when someone imports it.

    Args:
        name: full name of the module.
        callback: runs in the importing thread, under that module's import lock; must be harmless when run twice.

    Note:
        Imports nothing by itself. What the callback raises is raised by the import that triggered it.

    Example:
        >>> after_import("json", lambda module: print(module.__name__))
        json
    """
    _install()
    _hooks.callbacks[name] = callback
    if name in sys.modules:
        # Not sys.modules[name]: another thread may be in the middle of loading it, and this waits for the end.
        callback(import_module(name))


def alias_module(name: str, attribute: Callable[[str], Any]) -> None:
    """Make a module importable that has no file: each of its attributes is looked up when it is first asked for.

    Args:
        name: full name of the module; its parent package must be importable.
        attribute: gives the attribute of a name, raises ``AttributeError`` for unknown names.

    Example:
        >>> import math
        >>> from functools import partial
        >>> alias_module("nlpkit.numbers", partial(getattr, math))
        >>> import_module("nlpkit.numbers").tau
        6.283185307179586
    """
    _install()
    _hooks.aliases[name] = attribute


def _install() -> None:
    if _hooks not in sys.meta_path:
        sys.meta_path.insert(0, _hooks)


def register_names(mapping: Any, model_type: str, config_name: str, class_name: str | tuple[str, ...]) -> None:
    """Add a class to one of transformers' lazy tables (config class to model or tokenizer class) by its name only.

    transformers' own classes are listed this way; the public ``register`` methods want the classes themselves, and
    importing them here would load the modelling code on every ``import transformers``, half of the time in the middle
    of the very module they need.

    Args:
        mapping: a ``_LazyAutoMapping``, as ``MODEL_FOR_MASKED_LM_MAPPING``.
        model_type: names the module ``transformers.models.<model_type>`` that holds the class.
        config_name: name of the configuration class.
        class_name: name of the model or tokenizer class; of several models, the settings' ``architectures`` choose.

    Note:
        ``_reverse_config_mapping`` and ``_model_mapping`` of ``_LazyAutoMapping``: checked on transformers 5.20.0 and
        5.23.0. The first is filled when transformers loads, so it lacks us when transformers was loaded first.
    """
    mapping._reverse_config_mapping[config_name] = model_type
    mapping._model_mapping[model_type] = class_name


def open_first(cls: Any, opens: Callable[..., Any]) -> None:
    """Let a class of transformers open what it does not know: another function is asked before ``from_pretrained``.

    Args:
        cls: with a class method ``from_pretrained(source, ...)`` of its own, one of the Auto classes.
        opens: gets the class's own method without its class, the class, and the arguments of the call.

    Note:
        The Auto classes of models have a copy of the method each; checked on transformers 5.23.0.
    """
    own = vars(cls).get("from_pretrained")
    if own is None or getattr(own.__func__, "_asks_first", False):
        return
    method = own.__func__

    @functools.wraps(method)
    def from_pretrained(cls: Any, *args: Any, **kwargs: Any) -> Any:
        return opens(functools.partial(method, cls), cls, *args, **kwargs)

    from_pretrained._asks_first = True  # type: ignore[attr-defined]
    cls.from_pretrained = classmethod(from_pretrained)


#: Layers that hand what their ``attention`` gives to nothing but position-wise modules.
_POSITIONWISE_AFTER_ATTENTION = ("BertLayer", "RobertaLayer", "XLMRobertaLayer", "ElectraLayer", "CamembertLayer")


def attention_of_positionwise_layer(layer: Any) -> Any:
    """The part of a Transformer layer behind which each position goes its own way; ``None`` where that is unknown.

    A caller that needs few rows of a layer can drop the others from that part's output, a tuple that begins with the
    states ``(batch, length, hidden)``: residual, feed-forward network and norm then run on the rows that are left.

    Args:
        layer: a layer of an encoder.

    Note:
        Relies on ``BertLayer.forward`` and its copies in other model types; checked on transformers 5.20.0 and 5.23.0.
    """
    whole = getattr(layer, "chunk_size_feed_forward", 0) == 0  # chunks would want a length that they divide
    return layer.attention if whole and type(layer).__name__ in _POSITIONWISE_AFTER_ATTENTION else None


@contextmanager
def uncaptured() -> Iterator[None]:
    """Keep transformers from recording what modules return within, where hidden states or attentions are asked for.

    Note:
        ``_active_collector`` of ``transformers.utils.output_capturing``, which ``torch.compile`` traces as a global
        variable; checked on transformers 5.23.0.
    """
    import torch
    from transformers.utils.output_capturing import _active_collector as collector

    if torch.compiler.is_compiling():
        recorded, collector.global_var = collector.global_var, None
        try:
            yield
        finally:
            collector.global_var = recorded
        return
    token = collector.context_var.set(None)
    try:
        yield
    finally:
        collector.context_var.reset(token)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep transformers from reporting on missing and unexpected weights, for callers that read the report themselves.

    Note:
        The report is logged as a warning (checked on transformers 5.20.0 and 5.23.0); its progress bar stays.
    """
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def eager_attention_of(layer: Any) -> Callable[..., Any] | None:
    """The attention function that a layer takes where ``attn_implementation`` is ``"eager"``; ``None`` without one.

    Args:
        layer: of attention.

    Note:
        Relies on the name ``eager_attention_forward`` in the modules of models; checked on transformers 5.23.0.
    """
    modules = (sys.modules.get(cls.__module__) for cls in type(layer).__mro__)
    found = (getattr(module, "eager_attention_forward", None) for module in modules)
    return next((one for one in found if one is not None), None)


@contextmanager
def sharding_on_cpus() -> Iterator[None]:
    """Let an ``Accelerator`` that is made within, and is asked for FSDP, shard on CPUs as it does on accelerators.

    Note:
        ``AcceleratorState`` of accelerate drops its ``fsdp_plugin`` where processes run on CPUs, without a word, so
        that each would train the whole model by DDP; checked on accelerate 1.15.0.
    """
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    made = AcceleratorState.__init__

    def make(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        made(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP  # which optimizers read again
            if self.mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self.mixed_precision)

    AcceleratorState.__init__ = make
    try:
        yield
    finally:
        AcceleratorState.__init__ = made


@contextmanager
def tied_heads_sharded_whole() -> Iterator[None]:
    """Let accelerate leave a head in one group with all that it is tied to, where it would shard that twice.

    Note:
        ``fsdp2_prepare_model`` of accelerate makes a group of the table of embeddings and the output layer, to whose
        bias BERT ties another one outside, which torch 2.13 refuses; checked on accelerate 1.15.0.
    """
    from accelerate import accelerator

    prepare = accelerator.fsdp2_prepare_model

    def prepare_whole(of: Any, model: Any) -> Any:
        getters = ("get_input_embeddings", "get_output_embeddings")
        hidden = getters if _is_tied_outside([getattr(model, name, lambda: None)() for name in getters], model) else ()
        vars(model).update(dict.fromkeys(hidden, lambda: None))
        try:
            return prepare(of, model)
        finally:
            for name in hidden:
                del vars(model)[name]

    accelerator.fsdp2_prepare_model = prepare_whole
    try:
        yield
    finally:
        accelerator.fsdp2_prepare_model = prepare


def _is_tied_outside(parts: Sequence[Any], model: Any) -> bool:
    own = {id(parameter) for part in parts if part is not None for parameter in part.parameters()}
    others = (module for module in model.modules() if not any(module is part for part in parts))
    return any(id(parameter) in own for module in others for parameter in module.parameters(recurse=False))
